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
    Softmin,
    TopKMean,
)
from sbp.selection.balanced import Balanced, FrequencyOfUse
from sbp.selection.draws import beta_for_kept_fraction, draw, keep_probability, percentiles
from sbp.selection.guard import GUARDS, Dynamics, Guard, NoGuard
from sbp.selection.in_batch import Composer, InBatch
from sbp.selection.infobatch import InfoBatch
from sbp.selection.kakurenbo import Kakurenbo
from sbp.selection.policies import Everything, PerDefect, Random, Reducible, Selective
from sbp.selection.policy import POLICIES, Policy, SelectionContext
from sbp.selection.replay import Replay
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
from sbp.selection.stratified import Auto, Stratified
from sbp.selection.upsampling import candidate_list, defect_indices

if TYPE_CHECKING:
    from sbp.selection.sampler import EpochPlan, SelectiveSampler

__all__ = [
    "AGGREGATIONS",
    "GUARDS",
    "NEVER",
    "POLICIES",
    "STALENESSES",
    "Aggregation",
    "Auto",
    "Balanced",
    "Composer",
    "Dynamics",
    "EpochPlan",
    "EveryEpoch",
    "Everything",
    "FrequencyOfUse",
    "Guard",
    "Hidden",
    "InBatch",
    "InfoBatch",
    "Kakurenbo",
    "MaskDefectBorders",
    "Max",
    "Mean",
    "MinDefectsMaxBackground",
    "NoGuard",
    "PerDefect",
    "Periodic",
    "Policy",
    "Random",
    "Reducible",
    "Replay",
    "Reuse",
    "ScoreBook",
    "SelectionContext",
    "Selective",
    "SelectiveSampler",
    "Shift",
    "Smart",
    "Softmin",
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
