"""What is known about every training image: its last scores, when they were taken, how often it was used."""

from collections.abc import Sequence

import numpy as np

NEVER = -1
CHUNK = 1 << 20


def _as_slice(indices: np.ndarray) -> np.ndarray | slice:
    """Consecutive indices as a slice, which numpy writes several times faster."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and (len(indices) == 1 or (np.diff(indices) == 1).all()):
        return slice(first, last + 1)
    return indices


class ScoreBook:
    """One row per training image, plain arrays, O(N): 10 million images fit in well under 1 GB.

    scores: (S, N, D) float32, last score per scheme, image and defect, in nats; NaN while never scored.
    scored_at, trained_at: (N,) int32, epoch of the last score and of the last training; NEVER if none.
    times_selected: (N,) int32. The first scheme is the selection's own.
    """

    ARRAYS = ("scores", "scored_at", "trained_at", "times_selected")

    def __init__(self, num_images: int, num_defects: int, schemes: Sequence[str] = ("max",)):
        if num_images < 1 or num_defects < 1 or not schemes:
            raise ValueError(
                f"a score book needs images ({num_images}), defects ({num_defects}) and schemes ({schemes})"
            )
        self.schemes = tuple(schemes)
        self.scores = np.full((len(self.schemes), num_images, num_defects), np.nan, dtype=np.float32)
        self.scored_at = np.full(num_images, NEVER, dtype=np.int32)
        self.trained_at = np.full(num_images, NEVER, dtype=np.int32)
        self.times_selected = np.zeros(num_images, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.scored_at)

    @property
    def never_scored(self) -> np.ndarray:
        """(N,) bool."""
        return self.scored_at == NEVER

    def record_scores(
        self, indices: np.ndarray, scores: np.ndarray, epoch: int, *, late: bool = False
    ) -> None:
        """Write scores (S, n, D) of images `indices` (n,), taken in `epoch`; an image's last entry counts.

        late: they come after the fact, from the weights at the start of `epoch`, and leave alone what the
        book has of that epoch or a later one. Raises ValueError, and writes nothing, if the shape is another
        or a score is not finite.
        """
        expected = (len(self.schemes), len(indices), self.scores.shape[2])
        if scores.shape != expected:
            raise ValueError(
                f"scores of shape {scores.shape}, must be (schemes, images, defects) = {expected}"
            )
        if len(indices) and np.min(indices) < 0:
            raise ValueError("image numbers must be at least 0")
        # NaN and inf survive a sum, which needs no temporary array
        if not np.isfinite(scores.sum(dtype=np.float64)):
            bad = ~np.isfinite(scores).all(axis=(0, 2))
            raise ValueError(f"scores that are not finite, images {np.asarray(indices)[bad][:10].tolist()}")
        if late:
            older = self.scored_at[indices] < epoch
            indices, scores = np.asarray(indices)[older], scores[:, older]
        for start in range(0, len(indices), CHUNK):  # temporaries stay small beside the book itself
            rows = _as_slice(indices[start : start + CHUNK])
            self.scores[:, rows] = scores[:, start : start + CHUNK]
            self.scored_at[rows] = epoch

    def record_training(self, indices: np.ndarray, epoch: int) -> None:
        """Note that `indices` are trained on in `epoch`; an index that appears twice counts twice."""
        self.trained_at[indices] = epoch
        self.times_selected += np.bincount(indices, minlength=len(self)).astype(np.int32)

    def defect_scores(self) -> np.ndarray:
        """(N, D) view of the last scores under the selection's own scheme."""
        return self.scores[0]

    def image_scores(self, focus: Sequence[int]) -> np.ndarray:
        """(N,) the largest of them over the focused defect channels; NaN where never scored."""
        scores = self.defect_scores()
        result = scores[:, focus[0]].copy()
        for d in focus[1:]:
            np.maximum(result, scores[:, d], out=result)
        return result

    def image_losses(self, focus: Sequence[int]) -> np.ndarray:
        """(N,) float32, the mean of the selection's own scores over the focused defect channels; NaN where
        never scored. With the scheme `mean` and all defects it is the image's training loss."""
        return self.defect_scores()[:, list(focus)].mean(axis=1, dtype=np.float32)

    def oldest_scores(self, count: int) -> np.ndarray:
        """Indices of the `count` images whose scores are oldest, never-scored ones first, then by number."""
        count = min(count, len(self))
        if count == 0:
            return np.empty(0, dtype=np.int64)
        return np.sort(np.argsort(self.scored_at, kind="stable")[:count])

    def state_dict(self) -> dict[str, np.ndarray | list[str]]:
        """Everything, as views of the arrays (copy what must not change); undone by load_state_dict."""
        return {"schemes": list(self.schemes), **{name: getattr(self, name) for name in self.ARRAYS}}

    def load_state_dict(self, state: dict) -> None:
        """Restore a state of the same shape; raises ValueError if schemes, images or defects differ."""
        if tuple(state["schemes"]) != self.schemes or state["scores"].shape != self.scores.shape:
            raise ValueError("this state belongs to other schemes, images or defects")
        for name in self.ARRAYS:
            getattr(self, name)[...] = state[name]
