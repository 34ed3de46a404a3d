"""The report as one HTML page and as Markdown, its pictures as files, and tables for other documents.

The page needs nothing else: no script, no request, everything inline.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sbp.report.page import ClaimRow, Picture, ReportPage, Table, tally
from sbp.utils.files import write_atomically

SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "equivalent": "=", "undecided": "?", "missing": "–"}


def write_html(report: ReportPage, path: str | Path) -> None:
    """Write the page atomically; its folder is made. Everything that comes from data is escaped."""
    _write(page_html(report), Path(path))


def page_html(report: ReportPage) -> str:
    """The whole page."""
    return _rendered("report.html", report=report, symbols=SYMBOLS, tally=tally(report.claims()))


def write_markdown(report: ReportPage, path: str | Path, figures: str = "figures") -> None:
    """Write the report as Markdown; `figures` is where `write_pictures` put the pictures, relative to it."""
    text = _rendered("report.md", report=report, figures=figures, tally=tally(report.claims()))
    _write(re.sub(r"\n{3,}", "\n\n", text), Path(path))


def write_pictures(report: ReportPage, folder: str | Path) -> None:
    """Write every picture as NAME.png, and as NAME.svg where there is one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (picture for section in report.sections for picture in section.pictures):
        (folder / f"{picture.name}.png").write_bytes(picture.png)
        if picture.svg is not None:
            (folder / f"{picture.name}.svg").write_bytes(picture.svg)


def claims_table(claims: Iterable[ClaimRow]) -> str:
    """Claims with rule, measurement and verdict as a Markdown table."""
    rows = []
    for claim in claims:
        decided = claim.verdict in ("reproduced", "not reproduced", "equivalent")
        verdict = f"**{claim.verdict}**" if decided else claim.verdict
        rows.append(
            [plain(claim.id), plain(claim.text), _lines(claim.rules), _lines(claim.measured), verdict]
        )
    return markdown_rows(["", "Claim", "Rule", "Measured", "Verdict"], rows)


def markdown_table(table: Table) -> str:
    """A table, its caption below."""
    rows = [[plain(str(cell)) for cell in row] for row in table.rows]
    text = markdown_rows([plain(column) for column in table.columns], rows)
    return text + (f"\n\n*{plain(table.caption)}*" if table.caption else "")


def markdown_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells that are Markdown already as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text as Markdown shows it, on one line, also inside a table: no markup, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def replace_between(text: str, marker: str, block: str) -> str:
    """`text` with `block` between the comments `marker:start` and `marker:end`.

    Raises ValueError if they are not there exactly once.
    """
    start, end = f"<!-- {marker}:start -->", f"<!-- {marker}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{start} and {end} must be there once, in this order")
    head, rest = text.split(start)
    return f"{head}{start}\n{block}\n{end}{rest.split(end)[1]}"


def _lines(lines: Sequence[str]) -> str:
    if len(lines) < 2:
        return plain("".join(lines))
    return "<br>".join(f"({number}) {plain(line)}" for number, line in enumerate(lines, 1))


def _anchor(name: str) -> str:
    return "section-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in name)


def _inline(picture: Picture) -> str:
    kind, content = ("svg+xml", picture.svg) if picture.svg is not None else ("png", picture.png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("sbp.report"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    known = (("anchor", _anchor), ("inline", _inline), ("plain", plain))
    environment.filters |= dict(known) | {"claims_table": claims_table, "markdown_table": markdown_table}
    return environment


def _rendered(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values)


def _write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
