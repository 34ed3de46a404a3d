"""What a run has spent, and when it ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch


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
    cost = (trained + scored * scoring FLOPs / training FLOPs) / num_images.
    """

    def __init__(self, num_images: int, model_cost: ModelCost):
        self.num_images, self.model_cost = num_images, model_cost
        self.trained = 0.0  # a part of an image, where it is trained on in tiles
        self.scored = 0

    @property
    def flops(self) -> float:
        """Total FLOPs of training and charged scoring."""
        return self.trained * self.model_cost.training + self.scored * self.model_cost.scoring

    @property
    def baseline_epochs(self) -> float:
        """Total cost in baseline epochs."""
        return self.trained / self.num_images + self.scoring_cost(self.scored)

    def scoring_cost(self, images: int) -> float:
        """What a scoring pass over that many images would add, in baseline epochs."""
        return images * self.model_cost.scoring / (self.num_images * self.model_cost.training)


class Budget:
    """Limits on epochs, compute (baseline epochs) and seconds; None is no limit, the first one met counts."""

    def __init__(self, epochs: int | None = None, compute: float | None = None, time_s: float | None = None):
        if epochs is None and compute is None and time_s is None:
            raise ValueError("a budget needs a limit on epochs, compute or time")
        self.epochs, self.compute, self.time_s = epochs, compute, time_s

    def progress(self, epochs: float, compute: float, time_s: float) -> float:
        """Used share in [0, 1] of the limit that is nearest to its end; epochs may be fractional."""
        used = (epochs, compute, time_s)
        limits = (self.epochs, self.compute, self.time_s)
        shares = [u / limit for u, limit in zip(used, limits, strict=True) if limit is not None]
        return min(1.0, max(shares))

    def allows(self, compute: float) -> bool:
        """Whether something is left to train with once `compute` baseline epochs are spent."""
        return self.compute is None or compute < self.compute


def learning_rate_factor(name: str, progress: float, warmup: float = 0.0, final: float = 0.0) -> float:
    """Learning rate over its peak at `progress` in [0, 1] of the budget.

    A linear ramp over the first `warmup` share, then constant, linear or cosine down to `final`. It knows
    the budget, not epochs: an epoch shortened by selection does not disturb the decay.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    rest = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
    if name == "constant":
        return 1.0
    if name == "linear":
        return final + (1 - final) * (1 - rest)
    if name == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * rest))
    raise ValueError(f"scheduler {name}: must be constant, linear or cosine")


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the budget; see learning_rate_factor."""

    name: str = "cosine"
    warmup: float = 0.0
    final: float = 0.0

    def set_rates(self, optimizer: torch.optim.Optimizer, peaks: Sequence[float], used: float) -> None:
        """Set the optimizer's rates for that share of the budget. peaks: a rate per parameter group."""
        factor = learning_rate_factor(self.name, used, self.warmup, self.final)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
