"""Claims, the rule each is judged by, and the verdict: what `experiments/<section>/claims.yaml` says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["reproduced", "not reproduced", "undecided", "missing"]


@dataclass(frozen=True)
class Measure:
    """One number per run. arm: name of a conf/arm option; metric: MLflow key, in which {common} and {rare}
    stand for the data set's first common and first rare defect; statistic: how a curve becomes a number."""

    arm: str
    metric: str
    statistic: str = "final"
    over: Literal["compute", "epoch", "seconds"] = "compute"
    at: float | None = None
    level: float | None = None
    alone: bool = False


@dataclass(frozen=True)
class Part:
    """A comparison and the region that it must fall into. left and right are paired by seed."""

    left: Measure
    right: Measure | None
    compare: Literal["value", "difference", "ratio"]
    low: float | None
    high: float | None
    text: str


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
