"""From a run's recorded series to one number, by which a claim is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sbp.metrics.names import KEPT_FRACTION, told_by
from sbp.plugins.checks import one_of, require
from sbp.tracking.runs import values_at

X_METRICS = {
    "compute": "cost/baseline_epochs",
    "seconds": "time/work_s",
    "images": "labelled/images",
    "defects": "labelled/defects",
}
AXES = ("epoch", *X_METRICS)
BACKPROPS = "backprops"
"""Over what a measure, but no figure, can be too: images trained on, as Jiang et al. count, in epochs of all
candidates."""
ZERO_BEFORE_TRAINING = ("val/map", "val/pixel_ap", "val/clean_map")
"""Metrics that an untrained model has at 0, so that their curves begin at (0, 0)."""


SHORT, LONG = "short", "long"
BUDGETS = (SHORT, LONG)
"""Options of conf/budget that runs are compared at."""
LEAST_TARGET = 0.02
"""Of `reach_final`: a final value below it is nothing to reach, and such a seed says nothing."""


@dataclass
class Measure:
    """One number per run. arm: name of a conf/arm option; metric: MLflow key, in which {common} and {rare}
    stand for the data set's first common and first rare defect; statistic: how a curve becomes a number, see
    STATISTICS; over: one of AXES, or BACKPROPS; at: share of the run, level: height, for statistics that have
    one; until: of `reach_final`, the arm whose final value (same seed and budget) is that height; slack: of
    it too, so many times that arm's final error, 1 less the value, is reached instead; budget: one of
    BUDGETS; exclusive: only runs that had the machine to themselves. Raises ValueError for what is out of
    range."""

    arm: str
    metric: str
    statistic: str = "final"
    over: str = "compute"
    at: float | None = None
    level: float | None = None
    until: str | None = None
    slack: float = 1.0
    budget: str = SHORT
    exclusive: bool = False

    def __post_init__(self) -> None:
        one_of("statistic", self.statistic, list(STATISTICS))
        one_of("over", self.over, (*AXES, BACKPROPS))
        one_of("budget", self.budget, BUDGETS)
        if self.statistic in ("at", "change_since", "late_gain"):
            require(self.at is not None and 0 <= self.at <= 1, "at", self.at, "between 0 and 1")
        if self.statistic == "reach":
            ok = self.level is not None and 0 < self.level <= 1
            require(ok, "level", self.level, "above 0 and at most 1")
        require(self.slack >= 1, "slack", self.slack, "at least 1")
        allowed = "1 but for statistic reach_final"
        require(self.slack == 1 or self.statistic == "reach_final", "slack", self.slack, allowed)
        needed = "the arm whose final value is to be reached, for statistic reach_final alone"
        require((self.statistic == "reach_final") == bool(self.until), "until", self.until, needed)

    def __str__(self) -> str:
        """As a rule says it: "final val/map"."""
        values = {"over": self.over, "at": self.at or 0.0, "level": self.level or 0.0, "until": self.until}
        text = WORDS[self.statistic].format(metric=self.metric, **values)
        about = f"is {self.slack:g} times as far from 1 as the final value"
        return text if self.slack == 1 else text.replace("reaches the final value", about)

    @property
    def key(self) -> str:
        """Under which the runs are that it measures."""
        return arm_key(self.arm, self.budget)

    @property
    def target(self) -> "Measure | None":
        """The measure of the run that sets the height; None if no other run does."""
        if not self.until:
            return None
        return replace(self, arm=self.until, statistic="final", until=None, slack=1.0)

    def towards(self, height: float) -> "Measure":
        """The same with the height that its target has, less what `slack` gives."""
        level = height if self.slack == 1 else 1 - self.slack * (1 - height)
        return replace(self, statistic="reach_level", level=level, until=None, slack=1.0)


def arm_key(arm: str, budget: str) -> str:
    """Under which a study has the runs of an arm at a budget: `focus_all`, or `focus_all@long`."""
    return arm if budget == SHORT else f"{arm}@{budget}"


def budget_of(key: str) -> str:
    """The budget of an `arm_key`."""
    return key.partition("@")[2] or SHORT


class RunSeries(Protocol):
    """A run as the measures see it."""

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags."""
        ...

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps (T,) and values (T,) of a metric; empty if it was never logged."""
        ...


def ran_exclusively(run: RunSeries) -> bool:
    """Whether the run had the machine to itself; runs of earlier versions say so under the name `alone`."""
    return run.tags.get("exclusive", run.tags.get("alone")) == "true"


def never_reached(run: RunSeries, key: str) -> bool:
    """Whether `key` is that of false regions at a recall that the run does not reach at its end: they are
    infinite, and not logged, where the highest recall is."""
    companions = told_by(key)
    if companions is None:
        return False
    (known, _), (_, images), (logged, _) = map(run.series, (*companions, key))
    countable = len(known) > 0 and len(images) > 0 and images[-1] > 0
    return bool(countable and (not len(logged) or logged[-1] < known[-1]))


def points(run: RunSeries, key: str, over: str) -> tuple[np.ndarray, np.ndarray]:
    """A metric over compute, epochs, seconds ...: x and y, both (T,), x ascending, where both are finite."""
    steps, y = (np.asarray(a, dtype=float) for a in run.series(key))
    if over == "epoch":
        x = steps + 1
    else:
        x = values_at(steps, *(backprops(run) if over == BACKPROPS else run.series(X_METRICS[over])))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) and key.startswith(ZERO_BEFORE_TRAINING):
        x, y = np.append(0.0, x), np.append(0.0, y)
    return x, y


def backprops(run: RunSeries) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (T,) and the images trained on by their end (T,); empty where an epoch's share is not known."""
    steps, kept = run.series(KEPT_FRACTION)
    known = np.array_equal(steps, np.arange(len(steps)))
    return (steps, np.cumsum(kept)) if known else (np.empty(0), np.empty(0))


def _area(x: np.ndarray, y: np.ndarray, end: float) -> float:
    """Mean height from the beginning to `end`."""
    upto = np.append(x[x < end], end)
    if len(upto) < 2:
        return float(np.interp(end, x, y))
    return float(np.trapezoid(np.interp(upto, x, y), upto) / (upto[-1] - upto[0]))


def _reach(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """First x at which the curve is at `level` or above; infinity if never."""
    above = np.flatnonzero(y >= level)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0 or y[i] == y[i - 1]:
        return float(x[i])
    return float(x[i - 1] + (level - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))


def _at(x: np.ndarray, y: np.ndarray, share: float | None) -> float:
    """Height at a share of the run, linear between points."""
    return float(np.interp((share or 0.0) * x[-1], x, y))


def _log10(value: float) -> float:
    return float(np.log10(value)) if value > 0 else float("nan")


NAN = float("nan")
Statistic = Callable[[np.ndarray, np.ndarray, Measure, float], float]

# Each takes x and y of the curve, the measure, and the x at which compared arms both end.
STATISTICS: dict[str, Statistic] = {
    "final": lambda x, y, m, end: y[-1],
    "first": lambda x, y, m, end: y[0],
    "best": lambda x, y, m, end: y.max(),
    "area": lambda x, y, m, end: _area(x, y, end),
    "at": lambda x, y, m, end: _at(x, y, m.at),
    "reach": lambda x, y, m, end: _reach(x, y, (m.level or 0.0) * y[-1]),
    "reach_level": lambda x, y, m, end: _reach(x, y, m.level or 0.0),
    "reach_final": lambda x, y, m, end: NAN,  # until its target is known, see Measure.towards
    "per_epoch": lambda x, y, m, end: (y[-1] - y[0]) / (x[-1] - x[0]) if len(y) > 1 else NAN,
    "mean": lambda x, y, m, end: y[1:].mean() if len(y) > 1 else NAN,
    "final_over_min": lambda x, y, m, end: y[-1] / y.min() if y.min() > 0 else NAN,
    "change_since": lambda x, y, m, end: y[-1] - _at(x, y, m.at),
    "late_gain": lambda x, y, m, end: (y[-1] - _at(x, y, m.at)) / y[-1] if y[-1] > 0 else float("inf"),
    "log_change": lambda x, y, m, end: _log10(y[-1]) - _log10(y[0]),
    "log_final": lambda x, y, m, end: _log10(y[-1]),
}
AS_LOGGED = ("per_epoch", "mean", "first", "log_change", "final_over_min", "log_final")
"""Statistics of the values as logged, over epochs, without the zero before training."""
WORDS = {
    "final": "final {metric}",
    "first": "first {metric}",
    "best": "best {metric}",
    "area": "mean {metric} over the run's {over}",
    "at": "{metric} at {at:.0%} of the run's {over}",
    "reach": "{over} until {metric} reaches {level:.0%} of its final value",
    "reach_level": "{over} until {metric} reaches {level:g}",
    "reach_final": "{over} until {metric} reaches the final value of {until}",
    "per_epoch": "{metric} per epoch",
    "mean": "mean {metric} after the first epoch",
    "final_over_min": "final over smallest {metric}",
    "change_since": "change of {metric} since {at:.0%} of the run",
    "late_gain": "gain of {metric} since {at:.0%} of the run, over its final value",
    "log_change": "change of log10 {metric} from first to last",
    "log_final": "log10 of the final {metric}",
}
"""How a statistic is called in a rule."""


def measure_run(run: RunSeries, measure: Measure, end: float = float("inf")) -> float:
    """The measure of one run; NaN if its metric was never logged. end: x at which an area is cut. Final false
    regions at a recall that the run does not reach are infinite."""
    if measure.statistic == "final" and never_reached(run, measure.metric):
        return float("inf")
    x, y = points(run, measure.metric, measure.over)
    if not len(x):
        return NAN
    last = float(x[-1])
    if measure.statistic in AS_LOGGED:
        x, y = (np.asarray(a, dtype=float) for a in run.series(measure.metric))
    return float(STATISTICS[measure.statistic](x, y, measure, min(end, last)))


def measure_pair(
    left_run: RunSeries, right_run: RunSeries, left: Measure, right: Measure
) -> tuple[float, float]:
    """Both measures; curves over epochs or seconds of runs of different length end at the shorter one's."""
    ends = [points(run, m.metric, m.over)[0] for run, m in ((left_run, left), (right_run, right))]
    end = min((float(x[-1]) for x in ends if len(x)), default=float("inf"))
    return measure_run(left_run, left, end), measure_run(right_run, right, end)
