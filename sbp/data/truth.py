"""What an image set knows of its training images beyond their annotations, as generated data does."""

import numpy as np

from sbp.data.dataset import Split

CHUNK = 256
"""Images whose masks are in memory at once."""


def lookalikes(split: Split) -> np.ndarray | None:
    """(N,) bool, whether an image holds something that looks like a defect; None where nothing is known."""
    kinds = np.array([bool(kind) for kind in split.kinds], dtype=bool)
    return kinds if kinds.any() else None


def unmarked(split: Split) -> np.ndarray | None:
    """(N,) bool, whether an image holds a defect of a kind that its annotation lacks; None where the true
    masks are not known."""
    if split.clean_masks is None:
        return None
    parts = []
    for start in range(0, len(split), CHUNK):
        true = (np.asarray(split.clean_masks[start : start + CHUNK]) == 1).any(axis=(1, 2))
        parts.append((true & ~split.labels[start : start + CHUNK]).any(axis=1))
    return np.concatenate(parts)
