"""Policies that choose inside each batch, by losses that a forward pass of its own has just computed."""

from abc import abstractmethod

import numpy as np

from sbp.plugins.checks import at_least, fraction, require
from sbp.selection.policies import Everything
from sbp.selection.policy import POLICIES
from sbp.selection.strata import draw_weighted


class InBatch(Everything):
    """Every candidate comes into a batch; which of them are trained on is decided there.

    The trainer asks, see sbp.engine.in_batch. The score book is not used, and images have no weights.
    """

    @abstractmethod
    def chooses(self, step: int, progress: float) -> bool:
        """Whether batch number `step` of an epoch is chosen from, when that share of the run's budget is
        used: if so, a forward pass is spent on it."""

    @abstractmethod
    def choose(self, losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Positions in a batch that are trained on, in any order, never empty, by the losses (B,)."""


@POLICIES.register("composer")
class Composer(InBatch):
    """Selective backprop as MosaicML's Composer does it: a draw inside each batch that favours high losses.

    Of B images, int(keep * B) are drawn without replacement, the one of rank r (1: the lowest loss) with a
    chance in proportion to ((r - 0.5) / B) ** (1 / keep - 1). keep: in (0, 1]; 1 chooses nothing. interrupt:
    every so manyth batch is trained on as it is, 0: none. start, end: shares of the run between which it
    acts, in [0, 1]. At least two images are kept, for BatchNorm, or all where there are fewer.
    """

    def __init__(self, keep: float = 0.5, start: float = 0.5, end: float = 0.9, interrupt: int = 2):
        require(0 < keep <= 1, "keep", keep, "above 0 and at most 1")
        fraction(start=start, end=end)
        require(start <= end, "start", start, f"at most end={end}")
        at_least(0, interrupt=interrupt)
        self.keep, self.start, self.end, self.interrupt = keep, start, end, interrupt

    def chooses(self, step: int, progress: float) -> bool:
        is_plain = self.interrupt > 0 and (step + 1) % self.interrupt == 0
        return self.keep < 1 and self.start <= progress < self.end and not is_plain

    def choose(self, losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        number = max(2, int(self.keep * len(losses)))
        by_loss = np.argsort(losses, kind="stable")
        return by_loss[draw_weighted(self.rank_weights(len(losses)), number, rng)]

    def rank_weights(self, number: int) -> np.ndarray:
        """(B,) chances of the ranks, lowest loss first, that add up to 1."""
        weights = ((np.arange(number) + 0.5) / number) ** (1 / self.keep - 1)
        return weights / weights.sum()
