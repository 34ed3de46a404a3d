"""The list of candidates: every image once, images with a rare defect several times."""

from collections.abc import Sequence

import numpy as np


def candidate_list(labels: np.ndarray, rare: list[int], factor: float | None) -> np.ndarray:
    """Image indices with repetitions, ascending: images holding a rare defect appear `factor` times.

    labels: (N, D) bool, whether an image holds a defect. rare: channels of the rare defects. factor: at
    least 1, rounded to a whole number; None repeats each rare defect's images until there are about as
    many as of the most frequent defect. An image with several rare defects takes the largest factor.
    """
    if factor is not None and not factor >= 1:
        raise ValueError(f"upsampling factor {factor}, must be at least 1")
    labels = np.asarray(labels, dtype=bool)
    counts = labels.sum(axis=0)
    repetitions = np.ones(len(labels), dtype=np.int64)
    for d in rare:
        if counts[d] == 0:
            continue
        times = max(1, round(counts.max() / counts[d])) if factor is None else round(factor)
        repetitions[labels[:, d]] = np.maximum(repetitions[labels[:, d]], times)
    return np.repeat(np.arange(len(labels)), repetitions)


def defect_indices(names: Sequence[str], focus: Sequence[str]) -> list[int]:
    """Channel numbers of the focused defects; raises ValueError naming an unknown one."""
    unknown = [name for name in focus if name not in names]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: the data set has {', '.join(names)}")
    return [list(names).index(name) for name in focus]
