"""The report as one HTML file that needs nothing else: no script, no request, everything inline."""

import base64
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from sbp.report.page import ClaimRow, Picture, ReportPage, SectionPage, Table, tally

SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?", "missing": "–"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_html(report: ReportPage, path: str | Path) -> None:
    """Write the page atomically; its folder is made. Everything that comes from data is escaped."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page_html(report), encoding="utf-8")
    os.replace(temporary, path)


def page_html(report: ReportPage) -> str:
    """The whole page."""
    css = files("sbp.report").joinpath("page.css").read_text(encoding="utf-8")
    body = [
        '<a class="skip" href="#content">To the content</a>',
        _header(report),
        _contents(report.sections),
        '<main id="content">',
        _all_claims(report),
        *(_section(section) for section in report.sections),
        "</main>",
        "<footer>Made by sbp report from the runs recorded in MLflow.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _header(report: ReportPage) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts)
    warnings = _box("Read with care", report.warnings)
    return (
        f'<header>\n<h1>{escape(report.title)}</h1>\n<p class="lead">{escape(report.subtitle)}</p>\n'
        f"<dl>{facts}</dl>\n{warnings}\n</header>"
    )


def _box(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="box"><b>{escape(title)}</b><ul>{items}</ul></div>'


def _contents(sections: Sequence[SectionPage]) -> str:
    links = "".join(f'<li><a href="#{_anchor(s.name)}">{escape(s.title)}</a></li>' for s in sections)
    return f'<nav aria-label="Sections"><ul><li><a href="#claims">Claims</a></li>{links}</ul></nav>'


def _anchor(name: str) -> str:
    return "section-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in name)


def _all_claims(report: ReportPage) -> str:
    rows = [(claim, _anchor(section.name)) for section in report.sections for claim in section.claims]
    body = "".join(_claim_row(claim, anchor) for claim, anchor in rows)
    return (
        f'<h2 id="claims">Claims</h2>\n<p class="tally">{escape(tally(report.claims()))}</p>\n'
        '<p class="soft">A claim is reproduced when the 95 % interval of the mean over seeds lies inside the '
        "region that its rule names, not reproduced when it lies outside, undecided when it reaches across "
        "the region's edge or there is one seed only. C: from the sources; S: our own questions.</p>\n"
        f"{_claims_table(body)}"
    )


def _claims_table(body: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "Claim", "Rule", "Measured", "Verdict"))
    return f'<table class="claims"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _claim_row(claim: ClaimRow, anchor: str | None) -> str:
    name = escape(claim.id)
    link = f'<a href="#{anchor}">{name}</a>' if anchor else name
    note = f'<div class="soft">{escape(claim.note)}</div>' if claim.note and anchor is None else ""
    return (
        f'<tr><th scope="row">{link}</th><td>{escape(claim.text)}{note}</td>'
        f'<td data-name="Rule">{_lines(claim.rules)}</td>'
        f'<td data-name="Measured">{_lines(claim.measured)}</td>'
        f"<td>{_chip(claim.verdict)}</td></tr>"
    )


def _lines(lines: Sequence[str]) -> str:
    if len(lines) < 2:
        return escape("".join(lines))
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _chip(verdict: str) -> str:
    kind = verdict.replace(" ", "-") if verdict in SYMBOLS else "undecided"
    return f'<span class="chip {kind}">{SYMBOLS.get(verdict, "?")} {escape(verdict)}</span>'


def _section(section: SectionPage) -> str:
    claims = "".join(_claim_row(claim, None) for claim in section.claims)
    notes = "".join(f"<p>{escape(part)}</p>" for part in section.notes.split("\n\n") if part.strip())
    parts = [
        f'<section aria-labelledby="{_anchor(section.name)}">',
        f'<h2 id="{_anchor(section.name)}">{escape(section.title)}</h2>',
        f'<p class="lead">{escape(section.question)}</p>',
        _box("Runs that are missing", section.missing),
        _claims_table(claims) if claims else "",
        notes,
        *(_picture(picture) for picture in section.pictures),
        *(_table(table) for table in section.tables),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _picture(picture: Picture) -> str:
    kind, content = ("svg+xml", picture.svg) if picture.svg is not None else ("png", picture.png)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return (
        f'<figure><div class="sheet"><img src="{source}" alt="{escape(picture.alt)}"></div>'
        f"<figcaption><b>{escape(picture.title)}</b> {escape(picture.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    rows = []
    for first, *rest in table.rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        rows.append(f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="numbers"><caption>{escape(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
