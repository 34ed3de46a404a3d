"""Selective back-propagation for any training loop: torch and numpy only."""

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
from sbp.selection.policies import Balanced, Everything, PerDefect, Policy, Random, Selective
from sbp.selection.sampler import EpochPlan, SelectiveSampler, defect_indices
from sbp.selection.score_book import NEVER, ScoreBook
from sbp.selection.staleness import Periodic, Reuse, Staleness
from sbp.selection.upsampling import candidate_list

__all__ = [
    "AGGREGATIONS",
    "NEVER",
    "Aggregation",
    "Balanced",
    "EpochPlan",
    "Everything",
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
    "Selective",
    "SelectiveSampler",
    "Shift",
    "Staleness",
    "TopKMean",
    "beta_for_kept_fraction",
    "candidate_list",
    "defect_indices",
    "draw",
    "keep_probability",
    "percentiles",
]
