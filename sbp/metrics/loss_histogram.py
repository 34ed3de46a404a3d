"""Histograms of image scores over epochs, split into healthy images and those with each defect."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sbp.utils.files import write_atomically

DEFAULT_EDGES = np.logspace(-6, 2, 97)


class LossHistogram:
    """Counts of scores per scheme, epoch, defect channel and group of images.

    counts[scheme]: (T, D, 1 + D, E) int64; group 0 is healthy images, group 1 + d those that hold defect d
    (an image with several defects counts in each). edges: (E + 1,) ascending, in nats, the same for the
    whole run, so that epochs can be stacked; scores beyond them fall into the end bins, 0 and infinity
    too. By default 96 bins from 1e-6 to 1e2 nats, uniform in the logarithm. `epochs` lists the T epochs.

    defects: D names; schemes: names of aggregations. Raises ValueError if edges do not ascend.
    """

    def __init__(
        self,
        defects: Sequence[str],
        schemes: Sequence[str],
        edges: Sequence[float] | np.ndarray | None = None,
    ):
        self.defects, self.schemes = tuple(defects), tuple(schemes)
        self.edges = DEFAULT_EDGES.copy() if edges is None else np.asarray(edges, dtype=np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not (np.diff(self.edges) > 0).all():
            raise ValueError("edges: must be at least two ascending numbers")
        self.epochs: list[int] = []
        self._counts: dict[str, list[np.ndarray]] = {scheme: [] for scheme in self.schemes}

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Counts (T, D, 1 + D, E) int64 of each scheme, epochs stacked in the order they were added."""
        d, bins = len(self.defects), len(self.edges) - 1
        empty = np.zeros((0, d, 1 + d, bins), dtype=np.int64)
        return {scheme: np.stack(rows) if rows else empty for scheme, rows in self._counts.items()}

    def add(self, epoch: int, scores: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
        """Add an epoch and return its counts (D, 1 + D, E) of each scheme.

        scores: per scheme (N, D) in nats, NaN where never scored (left out). labels: (N, D) bool, whether
        the image holds the defect. Raises KeyError if a scheme is missing and ValueError on other shapes,
        and then nothing is added.
        """
        groups = group_rows(labels)
        counts = {scheme: self._counts_of(np.asarray(scores[scheme]), groups) for scheme in self.schemes}
        self.extend([epoch], {scheme: count[None] for scheme, count in counts.items()})
        return counts

    def extend(self, epochs: Sequence[int], counts: Mapping[str, np.ndarray]) -> None:
        """Add epochs whose counts (T, D, 1 + D, E) are known."""
        self.epochs.extend(epochs)
        for scheme in self.schemes:
            self._counts[scheme].extend(counts[scheme])

    def _counts_of(self, scores: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
        shape = (len(groups[0]), len(self.defects))
        if scores.shape != shape or len(groups) != 1 + len(self.defects):
            raise ValueError(f"scores {scores.shape}, {len(groups) - 1} labels: must be {shape} (N, D) both")
        clipped = np.clip(scores.astype(np.float64), self.edges[0], self.edges[-1])
        scored = [[column[rows & ~np.isnan(column)] for rows in groups] for column in clipped.T]
        return np.stack([[np.histogram(values, self.edges)[0] for values in channel] for channel in scored])

    def save(self, path: str | Path) -> None:
        """Write edges, epochs, names and counts as .npz without pickles, atomically; replaces `path`.

        Raises OSError, as where the folder does not exist, and UserError where the disk is full; what was at
        `path` then stays as it was.
        """
        arrays: dict[str, Any] = {f"counts_{scheme}": counts for scheme, counts in self.counts.items()}
        arrays |= {"edges": self.edges, "epochs": np.array(self.epochs, dtype=np.int64)}
        arrays |= {"defects": np.array(self.defects), "schemes": np.array(self.schemes)}
        write_atomically(Path(path), lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | Path) -> "LossHistogram":
        """Read what `save` wrote. Raises OSError, ValueError or KeyError on any other file."""
        with np.load(path, allow_pickle=False) as data:
            histogram = cls(data["defects"].tolist(), data["schemes"].tolist(), data["edges"])
            histogram.epochs = data["epochs"].tolist()
            for scheme in histogram.schemes:
                histogram._counts[scheme] = list(data[f"counts_{scheme}"])
        return histogram


def group_rows(labels: np.ndarray) -> list[np.ndarray]:
    """Row selectors (N,) bool: healthy images, then the images of each defect. labels: (N, D) bool."""
    return [~labels.any(axis=1), *labels.T.astype(bool)]


def quantiles(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    defects: Sequence[str],
    qs: Sequence[float] = (0.1, 0.5, 0.9),
    healthy: bool = True,
) -> dict[str, float]:
    """Quantiles `scores/<scheme>/<defect>/<group>/q50` of each channel's scores over each group, in nats.

    scores: per scheme (N, D); NaN and infinite ones are left out. labels: (N, D) bool. qs: in [0, 1], in
    per cent in the key. group: `healthy`, if wanted, or a defect that the images hold. A group without a
    finite score has no entries.
    """
    names, result = ("healthy", *defects), {}
    for scheme, values in scores.items():
        for group, rows in list(zip(names, group_rows(labels), strict=True))[not healthy :]:
            for d, defect in enumerate(defects):
                finite = values[rows, d][np.isfinite(values[rows, d])]
                if len(finite):
                    for q, value in zip(qs, np.quantile(finite, qs), strict=True):
                        result[f"scores/{scheme}/{defect}/{group}/q{100 * q:g}"] = float(value)
    return result
