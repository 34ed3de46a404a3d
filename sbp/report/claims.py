"""Claims, the rule each is judged by, and the verdict: what `experiments/<section>/claims.yaml` says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from sbp.plugins.checks import one_of, require
from sbp.report.measures import Measure, RunSeries, measure_pair, measure_run, ran_exclusively

Verdict = Literal["reproduced", "not reproduced", "undecided", "missing"]
Runs = Mapping[str, Mapping[int, RunSeries]]
COMPARISONS = ("value", "difference", "ratio")
SOURCES = ("blog", "jiang", "sbp")


@dataclass
class Part:
    """A comparison and the region [low, high] that it must fall into; null is open. left and right are
    paired by seed. compare: one of COMPARISONS, by default the difference, or the value where there is no
    right. text: the rule in words, or empty. Raises ValueError for what is out of range."""

    left: Measure
    region: list[float | None]
    right: Measure | None = None
    compare: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        self.compare = self.compare or ("value" if self.right is None else "difference")
        one_of("compare", self.compare, COMPARISONS)
        needs = "value, as there is no right" if self.right is None else "difference or ratio"
        require((self.compare == "value") == (self.right is None), "compare", self.compare, needs)
        require(len(self.region) == 2, "region", self.region, "[low, high]")
        known = [bound for bound in self.region if bound is not None]
        require(bool(known), "region", self.region, "bounded on one side at least")
        require(known == sorted(known), "region", self.region, "ordered, low at most high")

    @property
    def low(self) -> float | None:
        """The region's lower bound."""
        return self.region[0]

    @property
    def high(self) -> float | None:
        """The region's upper bound."""
        return self.region[1]


@dataclass
class Claim:
    """id: C1 ... C24 of the sources, or our own (S1 ...). source: one of SOURCES."""

    id: str
    source: str
    text: str
    parts: list[Part]
    note: str = ""

    def __post_init__(self) -> None:
        one_of("source", self.source, SOURCES)
        self.note = self.note.strip()

    def measures(self) -> list[Measure]:
        """Every measure that its parts compare."""
        return [measure for part in self.parts for measure in measures_of(part)]


def measures_of(part: Part) -> list[Measure]:
    """What a part compares, left first."""
    return [measure for measure in (part.left, part.right) if measure is not None]


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
    left, *right = (replace(m, metric=m.metric.format(**names)) for m in measures_of(part))
    return replace(part, left=left, right=right[0] if right else None, text=part.text.format(**names))


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
    return {s: run for s, run in members.items() if not measure.exclusive or ran_exclusively(run)}


def _missing(part: Part, runs: Runs) -> tuple[str, ...]:
    return tuple(dict.fromkeys(m.arm for m in measures_of(part) if not _members(m, runs)))


def mean_interval(values: Sequence[float], logarithmic: bool = False) -> tuple[float, tuple[float, float]]:
    """Mean and two-sided 95 % Student-t interval of the mean; NaN bounds with fewer than two values.

    logarithmic: of the logarithms, for ratios; zeros are then left as they are, with the arithmetic mean.
    """
    from scipy.stats import t  # late: it takes half a second

    numbers = np.asarray(values, dtype=float)
    logarithmic = logarithmic and bool((numbers > 0).all())
    x = np.log(numbers) if logarithmic else numbers
    mean, back = float(x.mean()), math.exp if logarithmic else float
    if len(x) < 2 or not np.isfinite(x).all():
        return back(mean), (math.nan, math.nan)
    half = float(t.ppf(0.975, len(x) - 1)) * float(x.std(ddof=1)) / math.sqrt(len(x))
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
    text = f"{left} of {left.arm}"
    if right is None:
        return text
    other = f"that of {right.arm}" if str(right) == str(left) else f"{right} of {right.arm}"
    return f"{text}, {'divided by' if part.compare == 'ratio' else 'minus'} {other}"


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
