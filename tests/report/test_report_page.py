"""The report as a page and as Markdown: nothing from outside, nothing unescaped, nothing left out."""

import base64
import re
from html.parser import HTMLParser

import pytest

from sbp.report.documents import (
    claims_table,
    markdown_table,
    page_html,
    replace_between,
    write_html,
    write_markdown,
    write_pictures,
)
from sbp.report.page import ClaimRow, Estimate, Picture, ReportPage, SectionPage, Table, tally

EVIL = '<script>alert(1)</script> & "quoted" | piped `code` *bold*\nsecond line'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def claim(name="C1", verdict="reproduced", **keys) -> ClaimRow:
    values = {"text": "a claim", "rules": ["x: at least 1"], "measured": ["2 [1.5, 2.5], 3 seeds"]}
    return ClaimRow(name, "blog", **{**values, "verdict": verdict, **keys})


def report(text="plain", **section) -> ReportPage:
    pages = SectionPage(
        name=text,
        title=text,
        question=text,
        **{
            "claims": [claim(text=text, rules=[text, text], measured=[text, text], note=text)],
            "pictures": [
                Picture("first", text, text, text, PNG, SVG),
                Picture("photo", text, text, text, PNG),
            ],
            "tables": [Table([text, "b"], [[text, Estimate(0.5, 0.4, 0.6, 3)]], text)],
            "missing": [text],
            "notes": text,
            **section,
        },
    )
    return ReportPage(text, text, [(text, text)], [pages], [text])


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.links, self.ids, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append(tag)
        self.sources += [known[key] for key in ("src", "srcset") if key in known]
        self.links += [known["href"]] if "href" in known else []
        self.ids += [known["id"]] if "id" in known else []

    def handle_data(self, data):
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    page = read(page_html(report()))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)  # every link leads somewhere
    assert "url(" not in page_html(report())
    assert "default-src 'none'" in page_html(report())


def test_names_with_markup_are_shown_as_text():
    page = read(page_html(report(EVIL)))
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9-]+", name) for name in page.ids)


def test_svg_is_preferred_and_pictures_without_one_are_bitmaps():
    first, second = read(page_html(report())).sources
    assert base64.b64decode(first.removeprefix("data:image/svg+xml;base64,")) == SVG
    assert base64.b64decode(second.removeprefix("data:image/png;base64,")) == PNG


def test_missing_runs_are_named():
    assert "Runs that are missing" in page_html(report(missing=["focus all, seed 2"]))
    assert "focus all, seed 2" in page_html(report(missing=["focus all, seed 2"]))
    assert "Runs that are missing" not in page_html(report(missing=[]))


def test_the_claims_stand_at_the_top_with_their_tally():
    page = report(claims=[claim(), claim("C2", "not reproduced"), claim("C3", "missing"), claim("C4")])
    text = read(page_html(page)).text
    assert "2 reproduced, 1 not reproduced, 1 missing" in text
    assert text.index("C3") < text.index("Runs that are missing")


def test_a_verdict_is_told_by_more_than_its_colour():
    text = read(page_html(report(claims=[claim(), claim("C2", "not reproduced")]))).text
    assert "✓ reproduced" in text
    assert "✗ not reproduced" in text


def test_an_interrupted_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    write_html(report(), path)
    before = path.read_text()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("sbp.utils.files.os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_html(report("other"), path)
    assert path.read_text() == before


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line.strip().strip("|"))


def test_markdown_tables_keep_their_columns_whatever_the_text_holds():
    rows = [claim(text=EVIL, rules=[EVIL, EVIL], measured=["a|b", ""])]
    assert {len(cells(line)) for line in claims_table(rows).splitlines()} == {5}
    table = markdown_table(Table([EVIL, "b"], [[EVIL, EVIL]])).splitlines()
    assert {len(cells(line)) for line in table} == {2}


def test_the_markdown_twin_says_what_the_page_says(tmp_path):
    page = report(
        claims=[claim(note="why"), claim("C2", "undecided", note="")], missing=["focus all, seed 2"]
    )
    write_markdown(page, tmp_path / "report.md")
    write_pictures(page, tmp_path / "figures")
    text = (tmp_path / "report.md").read_text()
    for expected in ("1 reproduced, 1 undecided", "focus all, seed 2", "C1: why", "0.500 (0.400 to 0.600)"):
        assert expected in text
    links = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(links) == 3
    assert all((tmp_path / link).is_file() for link in links)


def test_markup_is_no_markup_in_markdown(tmp_path):
    write_markdown(report(EVIL), tmp_path / "report.md")
    assert "<script>" not in (tmp_path / "report.md").read_text().replace("\\<script\\>", "")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.12345, 0.1, 0.2, 3), "0.123 (0.100 to 0.200)"),
        (Estimate(0.12345, 0.12345, 0.12345, 1), "0.123"),
        (Estimate(float("nan"), float("nan"), float("nan"), 0), "–"),
        (Estimate(123.4, 100, 1500.4, 2), "123 (100 to 1500)"),
    ],
)
def test_numbers_over_seeds(estimate, text):
    assert str(estimate) == text


def test_the_tally_names_only_what_is_there():
    assert tally([claim(), claim("C2", "missing")]) == "1 reproduced, 1 missing"
    assert tally([]) == "no claims"


def test_generated_blocks_are_replaced_and_the_rest_is_kept():
    text = "before\n<!-- t:start -->\nold\n<!-- t:end -->\nafter\n"
    once = replace_between(text, "t", "new | table")
    assert once == "before\n<!-- t:start -->\nnew | table\n<!-- t:end -->\nafter\n"
    assert replace_between(once, "t", "new | table") == once


@pytest.mark.parametrize(
    "text", ["nothing", "<!-- t:start -->", "<!-- t:end --><!-- t:start -->", "<!-- t:start -->" * 2]
)
def test_a_document_without_its_markers_is_not_touched(text):
    with pytest.raises(ValueError, match="must be there once"):
        replace_between(text, "t", "new")
