"""What a report is made of: plain data, written as HTML and as Markdown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

VERDICTS = ("reproduced", "not reproduced", "equivalent", "undecided", "missing")


@dataclass(frozen=True)
class Picture:
    """A figure. name: file stem, unique in a report; svg: None where there is only a bitmap."""

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    svg: bytes | None = None


@dataclass(frozen=True)
class Estimate:
    """A number over seeds: its mean and its lowest and highest value."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate":
        """Over the values that are finite; NaN if none is."""
        known = [float(value) for value in values if math.isfinite(value)]
        if not known:
            return cls(math.nan, math.nan, math.nan, 0)
        return cls(sum(known) / len(known), min(known), max(known), len(known))

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        if self.seeds < 2 or self.low == self.high:
            return _short(self.mean)
        return f"{_short(self.mean)} ({_short(self.low)} to {_short(self.high)})"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


Cell = str | Estimate


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class ClaimRow:
    """A claim as it is shown: rules and measured run in parallel; verdict is one of VERDICTS."""

    id: str
    source: str
    text: str
    rules: Sequence[str]
    measured: Sequence[str]
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class SectionPage:
    """One section. missing: labels of runs that are not there. headline: shown before the overview."""

    name: str
    title: str
    question: str
    claims: Sequence[ClaimRow] = field(default_factory=tuple)
    pictures: Sequence[Picture] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)
    missing: Sequence[str] = field(default_factory=tuple)
    notes: str = ""
    headline: bool = False


@dataclass(frozen=True)
class ReportPage:
    """A whole report. facts: where the results come from, as (name, value)."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[SectionPage]
    warnings: Sequence[str] = field(default_factory=tuple)

    def claims(self) -> list[ClaimRow]:
        """The claims of all sections."""
        return [claim for section in self.sections for claim in section.claims]


def seeds_text(there: int, all_seeds: int) -> str:
    """How many seeds an arm has: "3", or "2 of 3" where others have more."""
    return str(there) if there == all_seeds else f"{there} of {all_seeds}"


def tally(claims: Sequence[ClaimRow]) -> str:
    """How many claims have which verdict: "12 reproduced, 5 not reproduced, ..."."""
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no claims"
