"""Schemas of what sbp is about: selection, aggregation, beta, staleness, upsampling."""

import math
from dataclasses import dataclass

from omegaconf import MISSING

from sbp.config.checks import at_least, fraction, require
from sbp.errors import UserError


@dataclass
class SelectionConfig:
    """Which images an epoch trains on. warmup_epochs: epochs at the start that train on everything."""

    name: str = MISSING
    warmup_epochs: int = 1

    def __post_init__(self) -> None:
        at_least(0, selection__warmup_epochs=self.warmup_epochs)


@dataclass
class RandomSelection(SelectionConfig):
    """fraction: kept share; None keeps what `beta` would keep."""

    fraction: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = self.fraction is None or 0 < self.fraction <= 1
        require(ok, "selection.fraction", self.fraction, "above 0 and at most 1, or null")


@dataclass
class BalancedSelection(SelectionConfig):
    """healthy_ratio: random healthy images per defective one."""

    healthy_ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, selection__healthy_ratio=self.healthy_ratio)


@dataclass
class AggregationConfig:
    """From a loss map to one score per image; see sbp.selection.aggregation."""

    name: str = MISSING


@dataclass
class TopKMeanAggregation(AggregationConfig):
    """Exactly one of k (pixels) and fraction (of the image's pixels)."""

    k: int | None = None
    fraction: float | None = 0.01

    def __post_init__(self) -> None:
        at_least(1, aggregation__k=self.k)
        ok = self.fraction is None or 0 < self.fraction <= 1
        require(ok, "aggregation.fraction", self.fraction, "above 0 and at most 1, or null")
        if (self.k is None) == (self.fraction is None):
            both = f"aggregation.k={self.k}, aggregation.fraction={self.fraction}"
            raise UserError(f"{both}: give exactly one, the other null")


@dataclass
class MinDefectsAggregation(AggregationConfig):
    """per_zone: a minimum per connected zone instead of one per image."""

    per_zone: bool = False


@dataclass
class MaskBordersAggregation(AggregationConfig):
    """width: pixels on each side of the target's border that do not count."""

    width: int = 2

    def __post_init__(self) -> None:
        at_least(1, aggregation__width=self.width)
        require(self.width <= 1024, "aggregation.width", self.width, "at most 1024")


@dataclass
class ShiftAggregation(AggregationConfig):
    """max_shift: largest shift in pixels."""

    max_shift: int = 4

    def __post_init__(self) -> None:
        at_least(1, aggregation__max_shift=self.max_shift)


@dataclass
class BetaConfig:
    """Selectivity; value null keeps `margin` times the share of images that hold a focused defect."""

    value: float | None = MISSING
    margin: float = 1.25

    def __post_init__(self) -> None:
        at_least(0, beta__value=self.value)
        ok = math.isfinite(self.margin) and self.margin > 0
        require(ok, "beta.margin", self.margin, "above 0")


@dataclass
class StalenessConfig:
    """When images are scored. every: the N of "every N epochs"."""

    name: str = MISSING
    every: int = 1

    def __post_init__(self) -> None:
        at_least(1, staleness__every=self.every)


@dataclass
class ReuseStaleness(StalenessConfig):
    """refresh_fraction: share of the data set, the oldest scores first, that is scored every epoch."""

    refresh_fraction: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(staleness__refresh_fraction=self.refresh_fraction)
        require(self.every == 1, "staleness.every", self.every, "1 with reuse, which refreshes every epoch")


@dataclass
class UpsamplingConfig:
    """How often an image with a rare defect is a candidate; null: as often as the common defect."""

    name: str = MISSING
    factor: float | None = 1.0

    def __post_init__(self) -> None:
        at_least(1, upsampling__factor=self.factor)
        require((self.factor or 1) <= 10_000, "upsampling.factor", self.factor, "at most 10000")
