"""Part of `make record`: the tables of docs/results.md, beyond.md and metrics.md, the tally, and pictures."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sbp.config.paths import experiments_dir, output_root
from sbp.metrics.names import markdown_table
from sbp.report.documents import claims_table, markdown_rows, replace_between
from sbp.report.measures import SHORT
from sbp.report.page import ClaimRow, Estimate, seeds_text, tally
from sbp.report.results import read_rows
from sbp.report.sections import Section, chosen_sections
from sbp.run.results_version import RESULTS_VERSION

PICTURES = (
    "convergence-1-budgets", "two-defects-2-curves", "efficiency-1-bars", "active-learning-1-curves",
    "incremental-1-curves", "classification-1-curves", "classification-2-curves",
)  # fmt: skip
ROOT = Path(experiments_dir()).parent
T = TypeVar("T")
FIRST = "1"
"""The results version of rows from before there was one."""
COLUMNS = {
    "epochs": "epochs",
    "val/map": "val mAP",
    "test/map": "test mAP",
    "test/map/scratch": "test A",
    "test/map/broken": "test B",
}
BEYOND = {
    "epochs": "epochs",
    "test/map": "test mAP",
    "test/clean_map": "by true masks",
    "test/false_regions/r50": "false regions per healthy image at recall 0.5",
    "test/lookalike_false_regions/r50": "per look-alike",
}
"""Columns of the sections that are not of the blog's grid; those without a number are left out."""
OWN_PAGE = {
    "active_learning": {
        "epochs": "epochs",
        "labelled/area": "mean test mAP over the images",
        "test/map": "test mAP at the end",
        "test/map/scratch": "A",
        "test/map/broken": "B",
        "labelled/found/scratch": "share of A found",
        "labelled/found/broken": "of B",
        "labelled/defects": "defects outlined",
    },
    "incremental": {
        "epochs": "epochs",
        "test/map": "test mAP",
        "test/map/scratch": "A, old",
        "test/map/broken": "B, new",
        "forgetting/scratch": "forgotten of A",
    },
    "classification": {
        "epochs": "epochs",
        "kept_fraction": "kept",
        "val/accuracy": "val accuracy",
        "test/accuracy": "test accuracy",
    },
}
"""Sections with a page of their own, docs/SECTION.md, and its columns."""


def main(root: Path = ROOT) -> None:
    """Rewrite what stands between the markers of each document."""
    grid = [section for section in chosen_sections() if section.file and section.file.grid]
    claims, runs, speed = recorded_claims(grid), recorded_runs(grid), recorded_speed()
    everything = recorded_claims(chosen_sections())
    beyond = [s for s in chosen_sections() if s not in grid and s.name not in OWN_PAGE]
    blocks = {
        "docs/results.md": {
            "speed": speed,
            "claims": by_version(claims, claims_table),
            "results": by_version(runs, results_table),
        },
        "docs/metrics.md": {"metrics": markdown_table()},
        "docs/beyond.md": {"beyond": beyond_text(beyond)},
        **{f"docs/{name}.md": {name: own_page_text(name)} for name in OWN_PAGE},
        "README.md": {"speed": speed, "tally": by_version(everything, lambda rows: f"**{tally(rows)}.**")},
    }
    for name, markers in blocks.items():
        text = (root / name).read_text(encoding="utf-8")
        for marker, block in markers.items():
            text = replace_between(text, marker, block)
        (root / name).write_text(text, encoding="utf-8")
    copy_pictures(Path(output_root()) / "report" / "cpu" / "figures", root / "docs" / "images")
    counts = [sum(map(len, found.values())) for found in (everything, recorded_runs(chosen_sections()))]
    print(f"{', '.join(blocks)}: {counts[0]} claims, {counts[1]} runs")


def beyond_text(sections: Sequence[Section]) -> str:
    """Of each section that has been recorded: its claims, and what its runs reached."""
    texts = []
    for section in sections:
        claims, runs = recorded_claims([section]), recorded_runs([section])
        if runs:
            texts.append(f"### {section.title}")
            texts += [by_version(claims, claims_table)] if claims else []
            texts.append(by_version(runs, lambda rows: results_table(rows, BEYOND)))
    return "\n\n".join(texts) or "Nothing is recorded yet."


def own_page_text(name: str) -> str:
    """The claims of a section, and what its runs reached."""
    section = chosen_sections([name])
    claims, runs = recorded_claims(section), recorded_runs(section)
    if not runs:
        return "Nothing is recorded yet."
    texts = [by_version(claims, claims_table)] if claims else []
    return "\n\n".join([*texts, by_version(runs, lambda rows: results_table(rows, OWN_PAGE[name]))])


def by_version(rows: Mapping[str, list[T]], table: Callable[[list[T]], str]) -> str:
    """A table for each results version, the newest first; named where there are several."""
    texts = []
    for version in sorted(rows, key=float, reverse=True):
        name = f"Results version {version}" + (
            "" if version == str(RESULTS_VERSION) else ", not recorded anew yet"
        )
        texts += [f"{name}:", table(rows[version])] if len(rows) > 1 else [table(rows[version])]
    return "\n\n".join(texts)


def copy_pictures(figures: Path, images: Path) -> None:
    """The report's figures that the documents show, if there is a report."""
    for name in PICTURES:
        if (figures / f"{name}.png").is_file():
            images.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figures / f"{name}.png", images / f"{name}.png")


def recorded_claims(sections: Sequence[Section]) -> dict[str, list[ClaimRow]]:
    """By results version: every claim of these sections with a recorded verdict, in their order."""
    claims: dict[str, list[ClaimRow]] = {}
    for section in sections:
        versions = [_version(row) for row in read_rows(section.folder / "results.csv")]
        found: dict[str, list[dict[str, str]]] = {}
        for row in read_rows(section.folder / "verdicts.csv"):
            found.setdefault(row["id"], []).append(row)
        claims.setdefault(max(versions, default=FIRST, key=float), []).extend(map(_claim, found.values()))
    return {version: rows for version, rows in claims.items() if rows}


def _claim(rows: list[dict[str, str]]) -> ClaimRow:
    """The rows of a claim, one per rule, as it is shown."""
    rules, measured = ([row[key] for row in rows if row["rule"]] for key in ("rule", "measured"))
    last = rows[-1]
    return ClaimRow(last["id"], last["source"], last["claim"], rules, measured, last["verdict"])


def recorded_runs(sections: Sequence[Section]) -> dict[str, list[dict[str, str]]]:
    """By results version: every recorded run of these sections once, however many of them hold it."""
    rows = {row["run_id"]: row for section in sections for row in read_rows(section.folder / "results.csv")}
    runs: dict[str, list[dict[str, str]]] = {}
    for row in rows.values():
        runs.setdefault(_version(row), []).append(row)
    return runs


def recorded_speed() -> str:
    """The tables of speed of the sections that have some."""
    files = [section.folder / "speed.md" for section in chosen_sections()]
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files if file.is_file())


def _version(row: dict[str, str]) -> str:
    return row.get("results.version") or FIRST


def results_table(rows: Sequence[dict[str, str]], columns: Mapping[str, str] = COLUMNS) -> str:
    """Markdown: one line per arm and budget, mean and range over seeds, best test mAP first. columns: of the
    recorded rows, with their headings; those without a number are left out."""
    columns = {key: name for key, name in columns.items() if any(row.get(key) for row in rows)}
    arms: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        budget = row.get("budget") or SHORT
        arms.setdefault(row["label"] + (f", {budget}" if budget != SHORT else ""), []).append(row)
    seeds = {row["seed"] for members in arms.values() for row in members}
    best = "test/accuracy" if "test/accuracy" in columns else "test/map"
    ranked = sorted(arms.items(), key=lambda item: -_estimate(item[1], best).mean)
    cells = []
    for label, members in ranked:
        there = seeds_text(len({row["seed"] for row in members}), len(seeds))
        numbers = [str(_estimate(members, key)) for key in list(columns)[1:]]
        cells.append([label, there, f"{_estimate(members, 'epochs').mean:.0f}", *numbers])
    return markdown_rows(["run", "seeds", *columns.values()], cells)


def _estimate(rows: list[dict[str, str]], key: str) -> Estimate:
    return Estimate.of(float(row[key]) for row in rows if row.get(key))


if __name__ == "__main__":
    sys.exit(main())
