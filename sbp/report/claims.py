"""Claims, the rule each is judged by, and the verdict: what `experiments/<section>/claims.yaml` says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

import numpy as np

from sbp.plugins.checks import one_of, require
from sbp.report.measures import (
    LEAST_TARGET,
    Measure,
    RunSeries,
    measure_pair,
    measure_run,
    ran_exclusively,
)
from sbp.report.seeds import MANY_SEEDS, mean_interval, seeds_needed

Verdict = Literal["reproduced", "not reproduced", "equivalent", "undecided", "missing"]
Runs = Mapping[str, Mapping[int, RunSeries]]
COMPARISONS = ("value", "difference", "ratio")
SOURCES = ("blog", "jiang", "sbp")


@dataclass
class Part:
    """A comparison and the region [low, high] that it must fall into; null is open. left and right are
    paired by seed. compare: one of COMPARISONS, by default the difference, or the value where there is no
    right. margin: of a difference with an open region, how far from its edge nobody would care; an interval
    within it on both sides is *equivalent*. text: the rule in words, or empty. Raises ValueError for what is
    out of range."""

    left: Measure
    region: list[float | None]
    right: Measure | None = None
    compare: str = ""
    margin: float | None = None
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
        ok = self.margin is None or (self.margin > 0 and self.compare == "difference" and len(known) == 1)
        require(ok, "margin", self.margin, "above 0, for a difference with a region that is open on one side")

    @property
    def low(self) -> float | None:
        """The region's lower bound."""
        return self.region[0]

    @property
    def high(self) -> float | None:
        """The region's upper bound."""
        return self.region[1]

    @property
    def bounds(self) -> tuple[float, float]:
        """The region, infinite where it is open."""
        return (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)

    @property
    def edge(self) -> float:
        """The bound of a region that is open on one side."""
        return self.bounds[1] if self.low is None else self.bounds[0]


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
    """values: by seed. mean, interval: over seeds; the interval is NaN with fewer than two seeds.
    seeds_needed: of an undecided part, see `seeds_to_decide`; None where that cannot be said. right_never:
    number of seeds in which right is infinite and left is not, a ratio of 0; without values: both are."""

    part: Part
    values: Mapping[int, float]
    mean: float
    interval: tuple[float, float]
    verdict: Verdict
    missing: tuple[str, ...] = ()
    seeds_needed: int | None = None
    right_never: int = 0


@dataclass(frozen=True)
class ClaimResult:
    """A claim beside what was measured."""

    claim: Claim
    parts: tuple[PartResult, ...] = field(default_factory=tuple)
    verdict: Verdict = "missing"


def judge(claim: Claim, runs: Runs, names: Mapping[str, str]) -> ClaimResult:
    """A claim's verdict: reproduced if every part is, not reproduced if one is not; otherwise missing if
    one is, undecided if one is, else equivalent. names: what {common} and {rare} stand for in metrics."""
    parts = tuple(judge_part(part, runs, names) for part in claim.parts)
    verdicts = {part.verdict for part in parts}
    verdict: Verdict = "missing"
    if verdicts == {"reproduced"}:
        verdict = "reproduced"
    elif "not reproduced" in verdicts:
        verdict = "not reproduced"
    elif verdicts and "missing" not in verdicts:
        verdict = "undecided" if "undecided" in verdicts else "equivalent"
    return ClaimResult(claim, parts, verdict)


def judge_part(part: Part, runs: Runs, names: Mapping[str, str]) -> PartResult:
    """One rule's verdict: where the 95 % interval of the mean over seeds lies. reproduced: inside the
    region; not reproduced: outside; equivalent: across its edge, but within the margin of it; undecided:
    across its edge, or fewer than two seeds."""
    part = _named(part, names)
    found = part_values(part, runs)
    values = {seed: value for seed, value in found.items() if not math.isnan(value)}
    if not values:  # 0 divided by 0 was measured, but says nothing
        verdict: Verdict = "undecided" if found else "missing"
        nothing = (math.nan, math.nan)
        never = sum(_right_is_infinite(part, runs, seed) for seed in found)
        return PartResult(part, {}, math.nan, nothing, verdict, _missing(part, runs), right_never=never)
    numbers = list(values.values())
    right_never = sum(_right_is_infinite(part, runs, seed) for seed, value in values.items() if value == 0)
    mean, interval = mean_interval(numbers, logarithmic=part.compare == "ratio")
    verdict = _verdict(numbers, interval, part, every_seed=right_never > 0)
    needed = seeds_to_decide(numbers, part) if verdict == "undecided" and not right_never else None
    return PartResult(part, values, mean, interval, verdict, seeds_needed=needed, right_never=right_never)


def _named(part: Part, names: Mapping[str, str]) -> Part:
    left, *right = (replace(m, metric=m.metric.format(**names)) for m in measures_of(part))
    return replace(part, left=left, right=right[0] if right else None, text=part.text.format(**names))


def part_values(part: Part, runs: Runs) -> dict[int, float]:
    """The compared number by seed, for seeds that have every run and metric it needs; NaN where these say
    nothing, as 0 / 0."""
    values = {seed: _seed_value(part, runs, seed) for seed in sorted(_members(part.left, runs))}
    return {seed: value for seed, value in values.items() if value is not None}


def _seed_value(part: Part, runs: Runs, seed: int) -> float | None:
    sides: list[tuple[RunSeries, Measure]] = []
    for measure in measures_of(part):
        run, side = _members(measure, runs).get(seed), _with_height(measure, runs, seed)
        if run is None or side is None:
            return None
        sides.append((run, side))
    if any(side.until for _, side in sides):  # the height is nothing to reach
        return math.nan
    (run, left), *others = sides
    if not others:
        value = measure_run(run, left)
        return None if math.isnan(value) else value
    other, right = others[0]
    a, b = measure_pair(run, other, left, right)
    if math.isnan(a) or math.isnan(b):
        return None
    return a - b if part.compare == "difference" else _ratio(a, b)


def _right_is_infinite(part: Part, runs: Runs, seed: int) -> bool:
    """Whether what the seed is compared with never gets there."""
    if part.compare != "ratio" or part.right is None:
        return False
    measure = _with_height(part.right, runs, seed)
    return measure is not None and math.isinf(measure_run(_members(part.right, runs)[seed], measure))


def _with_height(measure: Measure, runs: Runs, seed: int) -> Measure | None:
    """The measure, with the height that its target's run of this seed sets; as it is where that is too little
    to be reached; None if there is no such run."""
    target = measure.target
    if target is None:
        return measure
    run = _members(target, runs).get(seed)
    height = math.nan if run is None else measure_run(run, target)
    if math.isnan(height):
        return None
    return measure.towards(height) if height >= LEAST_TARGET else measure


def _ratio(a: float, b: float) -> float:
    """a / b of numbers that cannot be negative; infinite for b = 0, NaN where that says nothing."""
    if b > 0 and not a == b == math.inf:
        return a / b
    return math.inf if a > 0 and b == 0 else math.nan


def _members(measure: Measure, runs: Runs) -> dict[int, RunSeries]:
    members = runs.get(measure.key, {})
    return {s: run for s, run in members.items() if not measure.exclusive or ran_exclusively(run)}


def _missing(part: Part, runs: Runs) -> tuple[str, ...]:
    wanted = [m for measure in measures_of(part) for m in (measure, measure.target) if m is not None]
    return tuple(dict.fromkeys(m.key for m in wanted if not _members(m, runs)))


def _verdict(
    values: Sequence[float], interval: tuple[float, float], part: Part, every_seed: bool = False
) -> Verdict:
    if len(values) < 2:
        return "undecided"
    bottom, top = part.bounds
    if every_seed or not all(
        math.isfinite(v) for v in values
    ):  # as where a level is never reached: every seed decides
        inside = [bottom <= v <= top for v in values]
        return "reproduced" if all(inside) else "undecided" if any(inside) else "not reproduced"
    if bottom <= interval[0] and interval[1] <= top:
        return "reproduced"
    if interval[1] < bottom or interval[0] > top:
        return "not reproduced"
    near = part.margin is not None and all(abs(end - part.edge) <= part.margin for end in interval)
    return "equivalent" if near else "undecided"


def seeds_to_decide(values: Sequence[float], part: Part) -> int | None:
    """The number of seeds at which four studies of five would decide, if mean and spread over seeds are as
    they are now; None for fewer than two values, or one that is infinite. More than MANY_SEEDS says that the
    mean lies on the edge."""
    numbers = np.asarray(values, dtype=float)
    logarithmic = part.compare == "ratio" and bool((numbers > 0).all())
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return None
    x, edges = numbers, [bound for bound in part.bounds if math.isfinite(bound)]
    if logarithmic:
        x, edges = np.log(numbers), [math.log(edge) for edge in edges if edge > 0]
    distance = min((abs(float(x.mean()) - edge) for edge in edges), default=math.inf)
    if part.margin is not None:  # close to the edge, it can still be shown to be close
        distance = max(distance, part.margin - distance)
    return seeds_needed(distance, float(x.std(ddof=1)))


def rule_text(part: Part) -> str:
    """The rule as a sentence: what is compared, and what it must be."""
    text = part.text or f"{_compared(part)}: {_region(part)}"
    return text if part.margin is None else f"{text} (equivalent within {part.margin:g})"


def _compared(part: Part) -> str:
    left, right = part.left, part.right
    text = f"{left} of {left.key}"
    if right is None:
        return text
    other = f"that of {right.key}" if str(right) == str(left) else f"{right} of {right.key}"
    return f"{text}, {'divided by' if part.compare == 'ratio' else 'minus'} {other}"


def _region(part: Part) -> str:
    if part.low is None:
        return f"at most {part.high:g}"
    if part.high is None:
        return f"at least {part.low:g}"
    return f"between {part.low:g} and {part.high:g}"


def measured_text(result: PartResult) -> str:
    """The mean with its interval and the number of seeds: "0.182 [0.121, 0.243], 3 seeds"; where a level is
    not reached, by left or by right, the median and how many do not; of an undecided one, how many seeds
    would decide."""
    if result.verdict == "missing":
        runs = f": no run of {', '.join(result.missing)}" if result.missing else ""
        return f"not measured{runs}"
    reaching = result.part.left.statistic.startswith("reach")
    if not result.values:
        nothing = "infinite for both" if result.right_never else "0 divided by 0"
        return "too little to reach" if reaching else nothing
    values = list(result.values.values())
    seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    infinite = sum(math.isinf(value) for value in values)
    if infinite or result.right_never:
        middle, word = median(values), "not reached" if reaching else "infinite"
        parts = [] if math.isinf(middle) else [f"{middle:.3g} in the median"]
        parts += [f"{word} in {infinite} of {seeds}"] if infinite else []
        if result.right_never and result.part.right:
            parts.append(f"{word} for {result.part.right.key} in {result.right_never} of {seeds}")
        return ", ".join(parts)
    low, high = result.interval
    interval = "" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    return f"{result.mean:.3g}{interval}, {seeds}{_needed_text(result.seeds_needed)}"


def _needed_text(seeds: int | None) -> str:
    if seeds is None:
        return ""
    return (
        f"; about {seeds} would decide"
        if seeds <= MANY_SEEDS
        else f"; more than {MANY_SEEDS} would be needed"
    )
