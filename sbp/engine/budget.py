"""What a run has spent, and when it ends."""

import math
from dataclasses import dataclass

from sbp.plugins.checks import fraction, one_of, require


@dataclass(frozen=True)
class ModelCost:
    """FLOPs of one image: forward alone, forward and backward, and forward in the scoring pass."""

    forward: float
    training: float
    scoring: float

    @property
    def phi(self) -> float:
        """Share of the forward pass in a training step, about 1/3."""
        return self.forward / self.training


class Ledger:
    """Exact cost of a run, from the images it trained on and scored.

    One baseline epoch is the cost of training once on each of the data set's `num_images` images:
    cost = (trained + (scored * scoring FLOPs + forwarded * forward FLOPs) / training FLOPs) / num_images.
    forwarded: images of which the forward pass was computed twice, to choose inside their batch.
    """

    def __init__(self, num_images: int, model_cost: ModelCost):
        self.num_images, self.model_cost = num_images, model_cost
        self.trained = 0.0  # a part of an image, where it is trained on in tiles
        self.scored = 0
        self.forwarded = 0.0  # a part of an image, likewise

    @property
    def flops(self) -> float:
        """Total FLOPs of training and charged scoring."""
        forward = self.forwarded * self.model_cost.forward
        return self.trained * self.model_cost.training + self.scored * self.model_cost.scoring + forward

    @property
    def baseline_epochs(self) -> float:
        """Total cost in baseline epochs."""
        forward = self.forwarded * self.model_cost.phi / self.num_images
        return self.trained / self.num_images + self.scoring_cost(self.scored) + forward

    def scoring_cost(self, images: int) -> float:
        """What a scoring pass over that many images would add, in baseline epochs."""
        return images * self.model_cost.scoring / (self.num_images * self.model_cost.training)


@dataclass
class Budget:
    """Limits on epochs, compute (baseline epochs) and seconds of training time; None is no limit, the first
    one met counts. Raises ValueError without a limit, or for one out of range."""

    epochs: int | None = None
    compute: float | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            ok = value is None or (math.isfinite(value) and value > 0)
            require(ok, f"budget.{key}", value, "above 0, or null")
        if self.epochs is None and self.compute is None and self.time_s is None:
            raise ValueError("budget: one of budget.epochs, budget.compute and budget.time_s must be given")

    def progress(self, epochs: float, compute: float, time_s: float) -> float:
        """Used share in [0, 1] of the limit that is nearest to its end; epochs may be fractional."""
        used = (epochs, compute, time_s)
        limits = (self.epochs, self.compute, self.time_s)
        shares = [u / limit for u, limit in zip(used, limits, strict=True) if limit is not None]
        return min(1.0, max(shares))

    def allows(self, compute: float) -> bool:
        """Whether something is left to train with once `compute` baseline epochs are spent."""
        return self.compute is None or compute < self.compute


@dataclass
class Schedule:
    """Learning rate over the budget: a linear ramp over the first `warmup` share, then constant, linear or
    cosine down to `final`, both in [0, 1]. It knows the budget, not epochs: an epoch shortened by selection
    does not disturb the decay. Raises ValueError for a value out of range.
    """

    name: str = "cosine"
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        one_of("scheduler.name", self.name, ("constant", "linear", "cosine"))
        fraction(scheduler__warmup=self.warmup, scheduler__final=self.final)

    def factor(self, used: float) -> float:
        """Learning rate over its peak when that share of the budget is used."""
        if used < self.warmup:
            return max(used / self.warmup, 0.01)
        rest = (used - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        if self.name == "constant":
            return 1.0
        height = 1 - rest if self.name == "linear" else 0.5 * (1 + math.cos(math.pi * rest))
        return self.final + (1 - self.final) * height
