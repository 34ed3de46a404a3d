"""Part of `make record`: the tables of docs/results.md and docs/metrics.md, the tally, and pictures."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from sbp.config.paths import experiments_dir, output_root
from sbp.metrics.names import markdown_table
from sbp.report.documents import claims_table, markdown_rows, replace_between
from sbp.report.measures import SHORT
from sbp.report.page import ClaimRow, Estimate, seeds_text, tally
from sbp.report.results import read_rows
from sbp.report.sections import chosen_sections
from sbp.run.results_version import RESULTS_VERSION

PICTURES = ("two-defects-2-curves", "efficiency-1-bars")
ROOT = Path(experiments_dir()).parent
COLUMNS = {
    "epochs": "epochs",
    "val/map": "val mAP",
    "test/map": "test mAP",
    "test/map/scratch": "test A",
    "test/map/broken": "test B",
}


def main(root: Path = ROOT) -> None:
    """Rewrite what stands between the markers of each document."""
    claims, runs = recorded_claims(), recorded_runs()
    blocks = {
        "docs/results.md": {"claims": claims_table(claims), "results": results_table(runs)},
        "docs/metrics.md": {"metrics": markdown_table()},
        "README.md": {"tally": f"**{tally(claims)}.**"},
    }
    for name, markers in blocks.items():
        text = (root / name).read_text(encoding="utf-8")
        for marker, block in markers.items():
            text = replace_between(text, marker, block)
        (root / name).write_text(text, encoding="utf-8")
    copy_pictures(Path(output_root()) / "report" / "cpu" / "figures", root / "docs" / "images")
    print(f"{', '.join(blocks)}: {len(claims)} claims, {len(runs)} runs")


def copy_pictures(figures: Path, images: Path) -> None:
    """The report's figures that the documents show, if there is a report."""
    for name in PICTURES:
        if (figures / f"{name}.png").is_file():
            images.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figures / f"{name}.png", images / f"{name}.png")


def recorded_claims() -> list[ClaimRow]:
    """Every claim with a recorded verdict, in the order of the sections."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in _recorded("verdicts.csv"):
        found.setdefault(row["id"], []).append(row)
    claims = []
    for name, rows in found.items():
        rules, measured = ([row[key] for row in rows if row["rule"]] for key in ("rule", "measured"))
        last = rows[-1]
        claims.append(ClaimRow(name, last["source"], last["claim"], rules, measured, last["verdict"]))
    return claims


def recorded_runs() -> list[dict[str, str]]:
    """Every recorded run once, however many sections hold it; those of the current results version, if any
    section has been recorded at it."""
    rows = list({row["run_id"]: row for row in _recorded("results.csv")}.values())
    return [row for row in rows if row.get("results.version") == str(RESULTS_VERSION)] or rows


def _recorded(name: str) -> list[dict[str, str]]:
    """The rows of a file of every section that has claims."""
    return [row for section in chosen_sections() for row in read_rows(section.folder / name)]


def results_table(rows: Iterable[dict[str, str]]) -> str:
    """Markdown: one line per arm and budget, mean and range over seeds, best test mAP first."""
    arms: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        budget = row.get("budget") or SHORT
        arms.setdefault(row["label"] + (f", {budget}" if budget != SHORT else ""), []).append(row)
    seeds = {row["seed"] for members in arms.values() for row in members}
    ranked = sorted(arms.items(), key=lambda item: -_estimate(item[1], "test/map").mean)
    cells = []
    for label, members in ranked:
        there = seeds_text(len({row["seed"] for row in members}), len(seeds))
        numbers = [str(_estimate(members, key)) for key in list(COLUMNS)[1:]]
        cells.append([label, there, f"{_estimate(members, 'epochs').mean:.0f}", *numbers])
    return markdown_rows(["run", "seeds", *COLUMNS.values()], cells)


def _estimate(rows: list[dict[str, str]], key: str) -> Estimate:
    return Estimate.of(float(row[key]) for row in rows if row.get(key))


if __name__ == "__main__":
    sys.exit(main())
