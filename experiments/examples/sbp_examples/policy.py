"""A selection policy: the images of the highest scores, without chance."""

import numpy as np

from sbp.plugins.checks import require
from sbp.selection import POLICIES, Policy, SelectionContext


@POLICIES.register("top_fraction")
class TopFraction(Policy):
    """Keep the `fraction` of the candidates with the highest scores, in (0, 1]; at least one. Never-scored
    images come first."""

    needs_scores = True

    def __init__(self, fraction: float = 0.25):
        require(0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1")
        self.fraction = fraction

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        scores = np.nan_to_num(context.image_scores(), nan=np.inf)
        count = max(1, round(self.fraction * len(scores)))
        return np.argsort(-scores, kind="stable")[:count]
