"""KAKURENBO: images of low loss are hidden for an epoch, where the model is right and sure about them."""

import numpy as np

from sbp.plugins.checks import fraction, require
from sbp.selection.policy import POLICIES, Policy, SelectionContext

DECAY = ((0.8, 0.4), (0.6, 0.6), (0.3, 0.8), (0.0, 1.0))
"""From that share of the run on, so many times the largest share is hidden at most: epochs 60, 120 and 160 of
200 in the published code."""


@POLICIES.register("kakurenbo")
class Kakurenbo(Policy):
    """Hide the candidates of lowest loss, but for those that are predicted wrongly or not surely.

    Nguyen et al., NeurIPS 2023, arXiv:2310.10102. At most a share F of the candidates is hidden: `hide`, in
    [0, 1), that falls to 0.4 times that over the run (DECAY). Of those of lowest loss, the ones that are
    predicted wrongly, or with less than `confidence`, in [0, 1], are moved back. The learning rate is
    multiplied by 1 / (1 - F*), F* the share that is hidden in the end.

    An image is one prediction per pixel and defect here. It counts as predicted rightly if all of them are
    right, and as surely as the least sure of them: its confidence is the lowest probability that any pixel's
    true label has, which is exp(-largest loss). A mean would be sure of everything, as most pixels are easy,
    and hide images with a missed defect. One pixel therefore keeps an image from being hidden, also one that
    is annotated wrongly. Loss and confidence are those of the focused defects.
    """

    needs_scores = True
    reads_confidence = True

    def __init__(self, hide: float = 0.3, confidence: float = 0.7):
        require(0 <= hide < 1, "hide", hide, "at least 0 and below 1")
        fraction(confidence=confidence)
        self.hide, self.confidence = hide, confidence

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        number = int(self.largest_share(context.progress) * len(context.candidates))
        lowest = np.argsort(context.image_losses(), kind="stable")[:number]
        probability = context.lowest_probabilities()[lowest]
        is_sure = (probability > 0.5) & (probability >= self.confidence)  # not so for NaN, never scored
        trained = np.ones(len(context.candidates), dtype=bool)
        trained[lowest[is_sure]] = False
        return np.flatnonzero(trained)

    def rate(self, context: SelectionContext, kept: np.ndarray) -> float:
        return len(context.candidates) / len(kept)

    def largest_share(self, progress: float) -> float:
        """Of the candidates, that may be hidden when that share of the run's budget is used."""
        return next(factor for start, factor in DECAY if progress >= start) * self.hide
