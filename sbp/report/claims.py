"""Claims, the rule each is judged by, and the verdict: what `experiments/<section>/claims.yaml` says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sbp.report.measures import WORDS, RunSeries, measure_pair, measure_run

Verdict = Literal["reproduced", "not reproduced", "undecided", "missing"]
Runs = Mapping[str, Mapping[int, RunSeries]]

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom.
T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604,
    2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555,
    2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """One number per run. arm: name of a conf/arm option; metric: MLflow key, in which {common} and {rare}
    stand for the data set's first common and first rare defect; statistic: how a curve becomes a number,
    see sbp.report.measures; alone: only runs that had the machine to themselves."""

    arm: str
    metric: str
    statistic: str = "final"
    over: Literal["compute", "epoch", "seconds"] = "compute"
    at: float | None = None
    level: float | None = None
    alone: bool = False


@dataclass(frozen=True)
class Part:
    """A comparison and the region [low, high] that it must fall into; None is open. left and right are
    paired by seed."""

    left: Measure
    right: Measure | None
    compare: Literal["value", "difference", "ratio"]
    low: float | None
    high: float | None
    text: str = ""


@dataclass(frozen=True)
class Claim:
    """id: C1 ... C24 of the sources, or our own (S1 ...). source: blog, jiang or sbp."""

    id: str
    source: str
    text: str
    parts: tuple[Part, ...]
    note: str = ""


@dataclass(frozen=True)
class PartResult:
    """values: by seed. mean, interval: over seeds; the interval is NaN with fewer than two seeds."""

    part: Part
    values: Mapping[int, float]
    mean: float
    interval: tuple[float, float]
    verdict: Verdict
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimResult:
    """A claim beside what was measured."""

    claim: Claim
    parts: tuple[PartResult, ...] = field(default_factory=tuple)
    verdict: Verdict = "missing"


def judge(claim: Claim, runs: Runs, names: Mapping[str, str]) -> ClaimResult:
    """A claim's verdict: reproduced if every part is, not reproduced if one is not; otherwise missing if
    one is, else undecided. names: what {common} and {rare} stand for in metrics."""
    parts = tuple(judge_part(part, runs, names) for part in claim.parts)
    verdicts = {part.verdict for part in parts}
    verdict: Verdict = "missing"
    if verdicts == {"reproduced"}:
        verdict = "reproduced"
    elif "not reproduced" in verdicts:
        verdict = "not reproduced"
    elif verdicts and "missing" not in verdicts:
        verdict = "undecided"
    return ClaimResult(claim, parts, verdict)


def judge_part(part: Part, runs: Runs, names: Mapping[str, str]) -> PartResult:
    """One rule's verdict: where the 95 % interval of the mean over seeds lies. reproduced: inside the
    region; not reproduced: outside; undecided: across its edge, or fewer than two seeds."""
    part = _named(part, names)
    found = part_values(part, runs)
    values = {seed: value for seed, value in found.items() if not math.isnan(value)}
    if not values:  # 0 divided by 0 was measured, but says nothing
        verdict: Verdict = "undecided" if found else "missing"
        return PartResult(part, {}, math.nan, (math.nan, math.nan), verdict, _missing(part, runs))
    numbers = list(values.values())
    mean, interval = mean_interval(numbers, logarithmic=part.compare == "ratio")
    return PartResult(part, values, mean, interval, _verdict(numbers, interval, part.low, part.high))


def _named(part: Part, names: Mapping[str, str]) -> Part:
    def fill(measure: Measure | None) -> Measure | None:
        if measure is None:
            return None
        return Measure(**{**vars(measure), "metric": measure.metric.format(**names)})

    left = fill(part.left)
    assert left is not None
    return Part(left, fill(part.right), part.compare, part.low, part.high, part.text.format(**names))


def part_values(part: Part, runs: Runs) -> dict[int, float]:
    """The compared number by seed, for seeds that have every run and metric it needs; NaN for 0 / 0."""
    left, right = part.left, part.right
    values = {}
    for seed, run in sorted(_members(left, runs).items()):
        if right is None:
            a, value = (measure_run(run, left),) * 2
            b = 0.0
        elif other := _members(right, runs).get(seed):
            a, b = measure_pair(run, other, left, right)
            value = a - b if part.compare == "difference" else _ratio(a, b)
        else:
            continue
        if not math.isnan(a) and not math.isnan(b):
            values[seed] = value
    return values


def _ratio(a: float, b: float) -> float:
    """a / b of numbers that cannot be negative; infinite for b = 0, NaN where that says nothing."""
    if b > 0:
        return a / b
    return math.inf if a > 0 and b == 0 else math.nan


def _members(measure: Measure, runs: Runs) -> dict[int, RunSeries]:
    members = runs.get(measure.arm, {})
    return {s: run for s, run in members.items() if not measure.alone or run.tags.get("alone") == "true"}


def _missing(part: Part, runs: Runs) -> tuple[str, ...]:
    measures = [m for m in (part.left, part.right) if m is not None]
    return tuple(dict.fromkeys(m.arm for m in measures if not _members(m, runs)))


def mean_interval(values: Sequence[float], logarithmic: bool = False) -> tuple[float, tuple[float, float]]:
    """Mean and two-sided 95 % Student-t interval of the mean; NaN bounds with fewer than two values.

    logarithmic: of the logarithms, for ratios; zeros are then left as they are, with the arithmetic mean.
    """
    numbers = np.asarray(values, dtype=float)
    logarithmic = logarithmic and bool((numbers > 0).all())
    x = np.log(numbers) if logarithmic else numbers
    mean, back = float(x.mean()), math.exp if logarithmic else float
    if len(x) < 2 or not np.isfinite(x).all():
        return back(mean), (math.nan, math.nan)
    quantile = T_975[len(x) - 2] if len(x) - 2 < len(T_975) else 1.96 + 2.4 / (len(x) - 1)
    half = quantile * float(x.std(ddof=1)) / math.sqrt(len(x))
    return back(mean), (back(mean - half), back(mean + half))


def _verdict(
    values: Sequence[float], interval: tuple[float, float], low: float | None, high: float | None
) -> Verdict:
    if len(values) < 2:
        return "undecided"
    bottom, top = -math.inf if low is None else low, math.inf if high is None else high
    if not all(math.isfinite(v) for v in values):  # as where a level is never reached: every seed decides
        inside = [bottom <= v <= top for v in values]
        return "reproduced" if all(inside) else "undecided" if any(inside) else "not reproduced"
    if bottom <= interval[0] and interval[1] <= top:
        return "reproduced"
    return "not reproduced" if interval[1] < bottom or interval[0] > top else "undecided"


def rule_text(part: Part) -> str:
    """The rule as a sentence: what is compared, and what it must be."""
    return part.text or f"{_compared(part)}: {_region(part)}"


def _compared(part: Part) -> str:
    left, right = part.left, part.right
    text = f"{_words(left)} of {left.arm}"
    if right is None:
        return text
    other = f"that of {right.arm}" if _words(right) == _words(left) else f"{_words(right)} of {right.arm}"
    return f"{text}, {'divided by' if part.compare == 'ratio' else 'minus'} {other}"


def _words(measure: Measure) -> str:
    words = WORDS[measure.statistic]
    return words.format(
        metric=measure.metric, over=measure.over, at=measure.at or 0.0, level=measure.level or 0.0
    )


def _region(part: Part) -> str:
    if part.low is None:
        return f"at most {part.high:g}"
    if part.high is None:
        return f"at least {part.low:g}"
    return f"between {part.low:g} and {part.high:g}"


def measured_text(result: PartResult) -> str:
    """The mean with its interval and the number of seeds: "0.182 [0.121, 0.243], 3 seeds"."""
    if result.verdict == "missing":
        runs = f": no run of {', '.join(result.missing)}" if result.missing else ""
        return f"not measured{runs}"
    if not result.values:
        return "0 divided by 0"
    seeds = f"{len(result.values)} seed{'s' if len(result.values) > 1 else ''}"
    low, high = result.interval
    interval = "" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    return f"{result.mean:.3g}{interval}, {seeds}"
