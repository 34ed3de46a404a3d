"""Controls that need labels and no losses: all defective candidates, and some healthy ones."""

import math

import numpy as np

from sbp.plugins.checks import at_least
from sbp.selection.policy import POLICIES, Policy, SelectionContext
from sbp.selection.strata import draw_weighted


@POLICIES.register("balanced")
class Balanced(Policy):
    """A control that needs labels but no scores: all defective candidates and random healthy ones.

    healthy_ratio: healthy candidates drawn per defective one, at least 0. With no defective candidate at
    all, one healthy candidate is drawn, so that an epoch is never empty.
    """

    warms_up = False

    def __init__(self, healthy_ratio: float = 1.0):
        at_least(0, healthy_ratio=healthy_ratio)
        self.healthy_ratio = healthy_ratio

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        is_defective = context.is_defective()
        positives, negatives = np.flatnonzero(is_defective), np.flatnonzero(~is_defective)
        wanted = round(self.healthy_ratio * len(positives))
        if not len(positives):
            wanted = max(1, wanted)
        return np.concatenate([positives, self.draw_healthy(context, negatives, wanted, rng)])

    def draw_healthy(
        self, context: SelectionContext, negatives: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` of the positions `negatives` of healthy candidates, or all of them if there are fewer."""
        return rng.choice(negatives, size=min(wanted, len(negatives)), replace=False)


@POLICIES.register("frequency_of_use")
class FrequencyOfUse(Balanced):
    """A control: all defective candidates, and the healthy ones that were used least so far.

    The published standard in defect detection (mixed-segdec-net, SuperSimpleNet): u = 1 - uses / most uses,
    a healthy image weighs (u - median(u) + 1) ** (4 ln n) of the n healthy ones, drawn without replacement.
    healthy_ratio: healthy candidates per defective one, at least 0.
    """

    def draw_healthy(
        self, context: SelectionContext, negatives: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        weights = use_weights(context.book.times_selected[context.candidates[negatives]])
        return negatives[draw_weighted(weights, wanted, rng)]


def use_weights(uses: np.ndarray) -> np.ndarray:
    """(n,) float32 weights in (0, 1], the largest 1, of healthy images that were used so often, see
    FrequencyOfUse."""
    if not len(uses):
        return np.empty(0, dtype=np.float32)
    u = 1 - uses / max(1, uses.max())
    power = 4 * math.log(len(uses)) * np.log(np.maximum(u - np.median(u) + 1, 1e-12))
    return np.maximum(np.exp(power - power.max()), 1e-30).astype(np.float32)
