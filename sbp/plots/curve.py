"""Curves of runs, and their mean and range over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Axis = Literal["epoch", "compute", "seconds", "images", "defects"]


@dataclass(frozen=True)
class Curve:
    """One run's metrics; T is its number of epochs, or of rounds of annotating.

    label: the arm; runs that differ in their seed share it. epoch: (T,) from 0; cost: (T,) cumulative
    baseline epochs at the end of each epoch; seconds: (T,) cumulative work seconds. values: by metric,
    (T,), NaN where not measured. annotated: the same of `images` and `defects` annotated, by axis; empty for
    a run without rounds. Raises ValueError if the lengths differ.
    """

    label: str
    seed: int
    epoch: np.ndarray
    cost: np.ndarray
    seconds: np.ndarray
    values: Mapping[str, np.ndarray]
    annotated: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        series = {"cost": self.cost, "seconds": self.seconds, **self.values, **self.annotated}
        for name, values in series.items():
            if np.shape(values) != np.shape(self.epoch):
                raise ValueError(
                    f"{self.label}: {name} has shape {np.shape(values)}, epoch {np.shape(self.epoch)}"
                )

    def over(self, axis: Axis) -> np.ndarray:
        """(T,) positions on an axis: epochs count from 1, at their ends."""
        known = {"epoch": self.epoch + 1.0, "compute": self.cost, "seconds": self.seconds, **self.annotated}
        return known.get(axis, np.full(len(self.epoch), np.nan))

    def points(self, metric: str, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Positions and values where the metric was measured."""
        x, y = self.over(axis), np.asarray(self.values.get(metric, np.full(len(self.epoch), np.nan)), float)
        known = np.isfinite(x) & np.isfinite(y)
        return x[known], y[known]


def by_label(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves grouped by label, in the order of first appearance."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.label, []).append(curve)
    return groups


def band(
    curves: Sequence[Curve], metric: str, axis: Axis
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Positions, mean, lowest and highest value over the seeds of one arm; None if nothing was measured.

    Each run is interpolated linearly between its own measured points, over the range that all share.
    """
    points = [p for p in (curve.points(metric, axis) for curve in curves) if len(p[0])]
    if not points:
        return None
    low, high = max(x[0] for x, _ in points), min(x[-1] for x, _ in points)
    grid = np.unique(np.concatenate([x for x, _ in points]))
    grid = grid[(grid >= low) & (grid <= high)]
    if not len(grid):  # no common range: the longest run alone
        points = [max(points, key=lambda p: len(p[0]))]
        grid = points[0][0]
    table = np.stack([np.interp(grid, x, y) for x, y in points])
    return grid, table.mean(axis=0), table.min(axis=0), table.max(axis=0)
