"""From a run's recorded series to one number, by which a claim is judged."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sbp.tracking.runs import values_at

if TYPE_CHECKING:
    from sbp.report.claims import Measure

X_METRICS = {"compute": "cost/baseline_epochs", "seconds": "time/work_s"}
ZERO_BEFORE_TRAINING = ("val/map", "val/pixel_ap", "val/clean_map")
"""Metrics that an untrained model has at 0, so that their curves begin at (0, 0)."""


class RunSeries(Protocol):
    """A run as the measures see it."""

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags."""
        ...

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps (T,) and values (T,) of a metric; empty if it was never logged."""
        ...


class Curve:
    """A metric over compute, epochs or seconds. x, y: (T,), x ascending, only where y is finite."""

    def __init__(self, run: RunSeries, key: str, over: str):
        steps, y = (np.asarray(a, dtype=float) for a in run.series(key))
        x = steps + 1 if over == "epoch" else values_at(steps, *run.series(X_METRICS[over]))
        known = np.isfinite(x) & np.isfinite(y)
        self.x, self.y = x[known], y[known]
        if len(self.x) and key.startswith(ZERO_BEFORE_TRAINING):
            self.x, self.y = np.append(0.0, self.x), np.append(0.0, self.y)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def end(self) -> float:
        """Where the curve ends."""
        return float(self.x[-1])

    def at(self, x: float) -> float:
        """Value at x, linear between points."""
        return float(np.interp(x, self.x, self.y))

    def area(self, end: float) -> float:
        """Mean height from the beginning to `end`."""
        x = np.append(self.x[self.x < end], end)
        if len(x) < 2:
            return self.at(end)
        return float(np.trapezoid(np.interp(x, self.x, self.y), x) / (x[-1] - x[0]))

    def reach(self, level: float) -> float:
        """First x at which the curve is at `level` or above; infinity if never."""
        above = np.flatnonzero(self.y >= level)
        if not len(above):
            return float("inf")
        i = int(above[0])
        if i == 0 or self.y[i] == self.y[i - 1]:
            return float(self.x[i])
        share = (level - self.y[i - 1]) / (self.y[i] - self.y[i - 1])
        return float(self.x[i - 1] + share * (self.x[i] - self.x[i - 1]))


def _per_epoch(curve: Curve, measure: "Measure", end: float) -> float:
    return float((curve.y[-1] - curve.y[0]) / (len(curve) - 1)) if len(curve) > 1 else float("nan")


def _mean(curve: Curve, measure: "Measure", end: float) -> float:
    return float(curve.y[1:].mean()) if len(curve) > 1 else float("nan")


def _log10(value: float) -> float:
    return float(np.log10(value)) if value > 0 else float("nan")


Statistic = Callable[[Curve, "Measure", float], float]

# Each takes the curve, the measure and the x at which compared arms both end.
STATISTICS: dict[str, Statistic] = {
    "final": lambda c, m, end: float(c.y[-1]),
    "first": lambda c, m, end: float(c.y[0]),
    "best": lambda c, m, end: float(c.y.max()),
    "area": lambda c, m, end: c.area(end),
    "at": lambda c, m, end: c.at((m.at or 0.0) * c.end),
    "reach": lambda c, m, end: c.reach((m.level or 0.0) * float(c.y[-1])),
    "reach_level": lambda c, m, end: c.reach(m.level or 0.0),
    "per_epoch": _per_epoch,
    "mean": _mean,
    "final_over_min": lambda c, m, end: float(c.y[-1] / c.y.min()) if c.y.min() > 0 else float("nan"),
    "change_since": lambda c, m, end: float(c.y[-1] - c.at((m.at or 0.0) * c.end)),
    "log_change": lambda c, m, end: _log10(float(c.y[-1])) - _log10(float(c.y[0])),
    "log_final": lambda c, m, end: _log10(float(c.y[-1])),
}
WORDS = {
    "final": "final {metric}",
    "first": "first {metric}",
    "best": "best {metric}",
    "area": "mean {metric} over the run's {over}",
    "at": "{metric} at {at:.0%} of the run's {over}",
    "reach": "{over} until {metric} reaches {level:.0%} of its final value",
    "reach_level": "{over} until {metric} reaches {level:g}",
    "per_epoch": "{metric} per epoch",
    "mean": "mean {metric} after the first epoch",
    "final_over_min": "final over smallest {metric}",
    "change_since": "change of {metric} since {at:.0%} of the run",
    "log_change": "change of log10 {metric} from first to last",
    "log_final": "log10 of the final {metric}",
}
"""How a statistic is called in a rule."""


def measure_run(run: RunSeries, measure: "Measure", end: float = float("inf")) -> float:
    """The measure of one run; NaN if its metric was never logged. end: x at which an area is cut."""
    curve = Curve(run, measure.metric, measure.over)
    if not len(curve):
        return float("nan")
    if measure.statistic in ("per_epoch", "mean", "first", "log_change", "final_over_min", "log_final"):
        steps, y = run.series(measure.metric)  # as logged, without the zero before training
        curve.x, curve.y = np.asarray(steps, dtype=float), np.asarray(y, dtype=float)
    return STATISTICS[measure.statistic](curve, measure, min(end, curve.end))


def measure_pair(
    left_run: RunSeries, right_run: RunSeries, left: "Measure", right: "Measure"
) -> tuple[float, float]:
    """Both measures; curves over epochs or seconds of runs of different length end at the shorter one's."""
    ends = [Curve(run, m.metric, m.over).x for run, m in ((left_run, left), (right_run, right))]
    end = min((float(x[-1]) for x in ends if len(x)), default=float("inf"))
    return measure_run(left_run, left, end), measure_run(right_run, right, end)
