"""The report's Markdown twin, its pictures as files, and tables for other documents."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbp.report.page import ClaimRow, ReportPage, SectionPage, Table, tally


def write_markdown(report: ReportPage, path: str | Path, figures: str = "figures") -> None:
    """Write the report as Markdown; `figures` is where `write_pictures` put the pictures, relative to it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(_blocks(report, figures)) + "\n", encoding="utf-8")


def write_pictures(report: ReportPage, folder: str | Path) -> None:
    """Write every picture as NAME.png, and as NAME.svg where there is one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for section in report.sections:
        for picture in section.pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)
            if picture.svg is not None:
                (folder / f"{picture.name}.svg").write_bytes(picture.svg)


def escaped(text: str) -> str:
    """Text as Markdown shows it, on one line, also inside a table: no markup, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def _blocks(report: ReportPage, figures: str) -> Iterator[str]:
    yield f"# {escaped(report.title)}"
    yield escaped(report.subtitle)
    yield "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in report.facts)
    if report.warnings:
        yield "\n".join(f"> **Read with care.** {escaped(line)}" for line in report.warnings)
    yield "## Claims"
    yield tally(report.claims())
    yield claims_table(report.claims())
    for section in report.sections:
        yield from _section(section, figures)


def _section(section: SectionPage, figures: str) -> Iterator[str]:
    yield f"## {escaped(section.title)}"
    yield escaped(section.question)
    if section.missing:
        yield "**Runs that are missing:** " + "; ".join(escaped(label) for label in section.missing)
    if section.claims:
        yield claims_table(section.claims)
        notes = [f"- {claim.id}: {escaped(claim.note)}" for claim in section.claims if claim.note]
        if notes:
            yield "\n".join(notes)
    if section.notes.strip():
        yield escaped(section.notes)
    for picture in section.pictures:
        link = f" ([SVG]({figures}/{picture.name}.svg))" if picture.svg is not None else ""
        yield f"![{escaped(picture.alt)}]({figures}/{picture.name}.png)"
        yield f"**{escaped(picture.title)}** {escaped(picture.caption)}{link}".strip()
    for table in section.tables:
        yield markdown_table(table)


def claims_table(claims: Sequence[ClaimRow]) -> str:
    """Claims with rule, measurement and verdict as a Markdown table."""
    rows = [
        [
            claim.id,
            claim.text,
            _several(claim.rules),
            _several(claim.measured),
            f"**{claim.verdict}**" if claim.verdict in ("reproduced", "not reproduced") else claim.verdict,
        ]
        for claim in claims
    ]
    lines = ["| | Claim | Rule | Measured | Verdict |", "|---|---|---|---|---|"]
    for name, text, rules, measured, verdict in rows:
        lines.append(f"| {escaped(name)} | {escaped(text)} | {rules} | {measured} | {verdict} |")
    return "\n".join(lines)


def _several(lines: Sequence[str]) -> str:
    if len(lines) < 2:
        return escaped("".join(lines))
    return "<br>".join(f"({number}) {escaped(line)}" for number, line in enumerate(lines, 1))


def markdown_table(table: Table) -> str:
    """A table, its caption below."""
    lines = [
        "| " + " | ".join(escaped(column) for column in table.columns) + " |",
        "|" + "---|" * len(table.columns),
        *("| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in table.rows),
    ]
    return "\n".join(lines) + (f"\n\n*{escaped(table.caption)}*" if table.caption else "")


def replace_between(text: str, marker: str, block: str) -> str:
    """`text` with `block` between the comments `marker:start` and `marker:end`.

    Raises ValueError if they are not there exactly once.
    """
    start, end = f"<!-- {marker}:start -->", f"<!-- {marker}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{start} and {end} must be there once, in this order")
    head, rest = text.split(start)
    return f"{head}{start}\n{block}\n{end}{rest.split(end)[1]}"
