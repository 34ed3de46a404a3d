"""Schemas of a run's course: tracking, budget, scoring pass, evaluation, gradient probe."""

import math
import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from sbp.errors import UserError
from sbp.plugins.checks import at_least, one_of, require


@dataclass
class TrackingConfig:
    """Where the run is recorded. uri: null is an SQLite file in the output folder. parent: id of the run
    that this one is nested under; a sweep sets it. patience_s: how long the end of a run waits for a store
    that takes nothing any more; sbp sync sends the rest."""

    name: str = MISSING
    uri: str | None = None
    experiment: str = "sbp"
    parent: str | None = None
    histogram_images: bool = True
    gallery_images: int = 8
    patience_s: float = 10.0

    def __post_init__(self) -> None:
        one_of("tracking.name", self.name, ("local", "server", "none"))
        at_least(0, tracking__gallery_images=self.gallery_images, tracking__patience_s=self.patience_s)
        require(self.gallery_images <= 1000, "tracking.gallery_images", self.gallery_images, "at most 1000")
        named = len(self.experiment.strip()) > 0 and len(self.experiment) <= 500
        require(named, "tracking.experiment", self.experiment[:100], "a name of at most 500 characters")
        known = self.uri is None or re.match(r"databricks|[a-z][a-z0-9+.-]*:", self.uri)
        allowed = "an address, as http://host:5000 or sqlite:///file.db"
        lasting = self.uri is None or not re.match(r"sqlite:(///:memory:.*|/{0,2})$", self.uri)
        require(bool(known) and lasting, "tracking.uri", self.uri, allowed)
        if self.name == "server" and not self.uri:
            raise UserError("tracking.uri=null: must be the server's address, or set MLFLOW_TRACKING_URI")


@dataclass
class BudgetConfig:
    """The run ends at the first of these: epochs, compute in baseline epochs, seconds of training time."""

    epochs: int | None = None
    compute: float | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        limits = {"epochs": self.epochs, "compute": self.compute, "time_s": self.time_s}
        for key, value in limits.items():
            ok = value is None or (math.isfinite(value) and value > 0)
            require(ok, f"budget.{key}", value, "above 0, or null")
        if all(value is None for value in limits.values()):
            raise UserError("budget: one of budget.epochs, budget.compute and budget.time_s must be given")


@dataclass
class ScoringConfig:
    """The scoring pass. monitor_every: for policies that need no scores, score everything every N epochs
    only to record the histograms; not charged to the budget. 0: never."""

    batch_size: int = MISSING
    precision: str = "fp32"
    scale_factor: float = 1.0
    monitor_every: int = 0

    def __post_init__(self) -> None:
        at_least(1, scoring__batch_size=self.batch_size)
        at_least(0, scoring__monitor_every=self.monitor_every)
        one_of("scoring.precision", self.precision, ("fp32", "bf16"))
        require(0 < self.scale_factor <= 1, "scoring.scale_factor", self.scale_factor, "above 0, at most 1")


@dataclass
class EvaluationConfig:
    """Validation every `every` epochs, or `count` times spread evenly over the budget, at the ends of
    epochs; always after the last one. See sbp.metrics for what is measured. test: measure the test split
    at the end of the run."""

    every: int = 1
    count: int | None = None
    test: bool = True
    batch_size: int = MISSING
    threshold: float = 0.1
    min_area: int = 4
    iou_thresholds: list[float] = field(default_factory=lambda: [0.10, 0.20, 0.30, 0.40, 0.50])

    def __post_init__(self) -> None:
        at_least(1, evaluation__every=self.every, evaluation__batch_size=self.batch_size)
        at_least(1, evaluation__count=self.count)
        at_least(1, evaluation__min_area=self.min_area)
        require(0 < self.threshold < 1, "evaluation.threshold", self.threshold, "between 0 and 1")
        ok = len(self.iou_thresholds) > 0 and all(0 < t <= 1 for t in self.iou_thresholds)
        require(ok, "evaluation.iou_thresholds", self.iou_thresholds, "one or more numbers in (0, 1]")


@dataclass
class GradientsConfig:
    """The gradient probe, see sbp.engine.gradients: every `every` epochs (0: never), not charged to the
    budget. batch: images whose gradients are compared; fraction: share of them in a subsample."""

    every: int = 0
    batch: int = 192
    fraction: float = 1 / 3
    repeats: int = 1

    def __post_init__(self) -> None:
        at_least(0, gradients__every=self.every)
        at_least(1, gradients__batch=self.batch, gradients__repeats=self.repeats)
        require(self.repeats <= 1000, "gradients.repeats", self.repeats, "at most 1000")
        require(0 < self.fraction <= 0.5, "gradients.fraction", self.fraction, "above 0 and at most 0.5")
