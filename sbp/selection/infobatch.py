"""InfoBatch: a random half of the images of low loss is left out, the other half counts twice."""

import numpy as np

from sbp.plugins.checks import fraction, require
from sbp.selection.policy import POLICIES, Policy, SelectionContext


@POLICIES.register("infobatch")
class InfoBatch(Policy):
    """Leave out a share of the images whose loss is below the mean, and let the rest of them count for those.

    Qin et al., ICLR 2024, arXiv:2303.04947; the gradient stays that of all images on average. drop: share of
    those below the mean that is left out, in [0, 1); the others of them weigh 1 / (1 - drop). whole_at_end:
    last share of the run that trains on everything, in [0, 1]. An image's loss is the mean of its scores over
    the focused defects; one that was never scored counts as above the mean.
    """

    needs_scores = True
    weighs_images = True

    def __init__(self, drop: float = 0.5, whole_at_end: float = 0.125):
        require(0 <= drop < 1, "drop", drop, "at least 0 and below 1")
        fraction(whole_at_end=whole_at_end)
        self.keep, self.whole_at_end = 1 - drop, whole_at_end

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        if self._is_whole(context):
            return np.arange(len(context.candidates))
        losses = context.image_losses()
        is_low = losses < mean_loss(losses)
        low = np.flatnonzero(is_low)
        kept = rng.choice(low, int(self.keep * len(low)), replace=False)
        return np.concatenate([np.flatnonzero(~is_low), kept])

    def weights(self, context: SelectionContext) -> np.ndarray | None:
        if self._is_whole(context):
            return None
        is_low = context.book.image_losses(context.focus) < mean_loss(context.image_losses())
        return np.where(is_low, np.float32(1 / self.keep), np.float32(1))

    def _is_whole(self, context: SelectionContext) -> bool:
        return context.progress >= 1 - self.whole_at_end


def mean_loss(losses: np.ndarray) -> np.float32:
    """The mean of those that are known; never above the largest of them. NaN if none is."""
    known = losses[~np.isnan(losses)]
    return np.float32(known.mean(dtype=np.float64) if len(known) else np.nan)
