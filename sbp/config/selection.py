"""Schemas of what sbp is about: selection, aggregation, beta, staleness, upsampling."""

from dataclasses import dataclass

from omegaconf import MISSING

from sbp.plugins.checks import above, at_least, one_of, require


@dataclass
class SelectionConfig:
    """Which images an epoch trains on. warmup_epochs: epochs at the start that train on everything."""

    name: str = MISSING
    warmup_epochs: int = 1

    def __post_init__(self) -> None:
        at_least(0, selection__warmup_epochs=self.warmup_epochs)


@dataclass
class AggregationConfig:
    """From a loss map to one score per image; see sbp.selection.aggregation."""

    name: str = MISSING


@dataclass
class StalenessConfig:
    """When images are scored; see sbp.selection.staleness."""

    name: str = MISSING


@dataclass
class BetaConfig:
    """Selectivity; value null keeps `margin` times the share of images that hold a focused defect."""

    value: float | None = MISSING
    margin: float = 1.25

    def __post_init__(self) -> None:
        at_least(0, beta__value=self.value)
        above(0, beta__margin=self.margin)


@dataclass
class UpsamplingConfig:
    """How often an image with a rare defect is a candidate; null: as often as the common defect."""

    name: str = MISSING
    factor: float | None = 1.0

    def __post_init__(self) -> None:
        one_of("upsampling.name", self.name, ("none", "rare"))
        at_least(1, upsampling__factor=self.factor)
        require((self.factor or 1) <= 10_000, "upsampling.factor", self.factor, "at most 10000")
