"""A staleness: scoring passes that become rarer as scores settle."""

import numpy as np

from sbp.plugins.checks import require
from sbp.selection import STALENESSES, ScoreBook, Staleness


@STALENESSES.register("growing")
class Growing(Staleness):
    """Every image is scored before the selective epochs 0, 1, factor, factor ** 2 ...; factor above 1."""

    def __init__(self, factor: float = 2.0):
        require(factor > 1, "factor", factor, "above 1")
        self.factor = factor

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        age, due = epoch - first_epoch, 1.0
        while due < age:
            due *= self.factor
        return np.arange(len(book)) if age in (0, int(due)) else np.empty(0, dtype=np.int64)
