"""Selective back-propagation for any training loop: torch and numpy only."""

from typing import TYPE_CHECKING, Any

from sbp.selection.aggregation import (
    AGGREGATIONS,
    Aggregation,
    MaskDefectBorders,
    Max,
    Mean,
    MinDefectsMaxBackground,
    Shift,
    TopKMean,
)
from sbp.selection.draws import beta_for_kept_fraction, draw, keep_probability, percentiles
from sbp.selection.in_batch import Composer, InBatch
from sbp.selection.infobatch import InfoBatch
from sbp.selection.kakurenbo import Kakurenbo
from sbp.selection.policies import (
    POLICIES,
    Balanced,
    Everything,
    FrequencyOfUse,
    PerDefect,
    Policy,
    Random,
    SelectionContext,
    Selective,
    Stratified,
)
from sbp.selection.score_book import NEVER, ScoreBook
from sbp.selection.staleness import (
    STALENESSES,
    EveryEpoch,
    Hidden,
    Periodic,
    Reuse,
    Smart,
    Stale,
    Staleness,
    StaleSmart,
)
from sbp.selection.upsampling import candidate_list, defect_indices

if TYPE_CHECKING:
    from sbp.selection.sampler import EpochPlan, SelectiveSampler

__all__ = [
    "AGGREGATIONS",
    "NEVER",
    "POLICIES",
    "STALENESSES",
    "Aggregation",
    "Balanced",
    "Composer",
    "EpochPlan",
    "EveryEpoch",
    "Everything",
    "FrequencyOfUse",
    "Hidden",
    "InBatch",
    "InfoBatch",
    "Kakurenbo",
    "MaskDefectBorders",
    "Max",
    "Mean",
    "MinDefectsMaxBackground",
    "PerDefect",
    "Periodic",
    "Policy",
    "Random",
    "Reuse",
    "ScoreBook",
    "SelectionContext",
    "Selective",
    "SelectiveSampler",
    "Shift",
    "Smart",
    "Stale",
    "StaleSmart",
    "Staleness",
    "Stratified",
    "TopKMean",
    "beta_for_kept_fraction",
    "candidate_list",
    "defect_indices",
    "draw",
    "keep_probability",
    "percentiles",
]


def __getattr__(name: str) -> Any:
    # late, as it imports torch: the config lists this package's options without it
    if name in ("EpochPlan", "SelectiveSampler"):
        from sbp.selection import sampler

        return getattr(sampler, name)
    raise AttributeError(f"module 'sbp.selection' has no attribute {name!r}")
