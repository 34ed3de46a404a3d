"""The guard against annotation noise: which images do not learn what their annotation says.

Among the healthy images of the highest loss stand those that look like defects and those that hold one which
nobody marked. A look-alike's loss falls once it is trained on; an unmarked defect's stays where it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from sbp.plugins.checks import at_least, fraction
from sbp.plugins.registry import Registry


class Guard(ABC):
    """Watches the scores of a run and names suspects, whose score then counts for nothing in the draw.

    needs_scores: whether a policy without scores leaves it nothing to watch.
    """

    name: str
    needs_scores = True

    @abstractmethod
    def observe(self, scores: np.ndarray, strata: np.ndarray, selected: np.ndarray) -> None:
        """Take in an epoch's scores (N,), NaN where never scored. strata: (N,) number of the stratum of each
        image. selected: (N,) bool, whether it was ever drawn, this epoch included."""

    @abstractmethod
    def suspects(
        self, scores: np.ndarray, strata: np.ndarray, times_selected: np.ndarray
    ) -> np.ndarray | None:
        """(N,) bool, whose annotation is suspect; None for nobody's. times_selected: (N,) int."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Arrays, as they are (copy what must not change)."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Become what `state_dict` described."""


GUARDS: Registry[Guard] = Registry("guard")


@GUARDS.register("none")
class NoGuard(Guard):
    """Every annotation is believed."""

    needs_scores = False

    def observe(self, scores: np.ndarray, strata: np.ndarray, selected: np.ndarray) -> None:
        pass

    def suspects(self, scores: np.ndarray, strata: np.ndarray, times_selected: np.ndarray) -> None:
        return None


@GUARDS.register("dynamics")
class Dynamics(Guard):
    """Suspect is an image that was trained on, and did not learn.

    Drawn at least `min_selected` times, it still scores above `remaining` times its score at the first draw
    (or its first score after that, if it had none), while the median of its stratum fell further, each
    relative to that moment. min_selected: at least 1. remaining: in [0, 1].
    """

    ARRAYS = ("first_scores", "first_medians")

    def __init__(self, min_selected: int = 5, remaining: float = 0.5):
        at_least(1, min_selected=min_selected)
        fraction(remaining=remaining)
        self.min_selected, self.remaining = min_selected, remaining
        self.first_scores = np.empty(0, dtype=np.float32)
        self.first_medians = np.empty(0, dtype=np.float32)

    def observe(self, scores: np.ndarray, strata: np.ndarray, selected: np.ndarray) -> None:
        if not len(self.first_scores):
            self.first_scores = np.full(len(scores), np.nan, dtype=np.float32)
            self.first_medians = np.full(len(scores), np.nan, dtype=np.float32)
        fresh = np.flatnonzero(selected & np.isnan(self.first_scores) & ~np.isnan(scores))
        if len(fresh):
            self.first_scores[fresh] = scores[fresh]
            self.first_medians[fresh] = stratum_medians(scores, strata)[strata[fresh]]

    def suspects(self, scores: np.ndarray, strata: np.ndarray, times_selected: np.ndarray) -> np.ndarray:
        result = np.zeros(len(scores), dtype=bool)
        if not len(self.first_scores):
            return result
        seen = np.flatnonzero((times_selected >= self.min_selected) & ~np.isnan(self.first_scores))
        if not len(seen):
            return result
        medians = stratum_medians(scores, strata)[strata[seen]]
        stays = scores[seen] > self.remaining * self.first_scores[seen]
        # score / first > median / first median, without a division by 0
        lags = scores[seen] * self.first_medians[seen] > medians * self.first_scores[seen]
        result[seen] = stays & lags
        return result

    def state_dict(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.ARRAYS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.ARRAYS:
            setattr(self, name, np.array(state[name], dtype=np.float32))


def stratum_medians(scores: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """(number of strata,) float32 median of the scores (N,) of each stratum's scored images; NaN without."""
    count = int(strata.max()) + 1
    result = np.full(count, np.nan, dtype=np.float32)
    scored = ~np.isnan(scores)
    for stratum in range(count):
        inside = scores[scored & (strata == stratum)]
        if len(inside):
            result[stratum] = np.median(inside)
    return result
