"""Part of `make record`: the README's tables and pictures, from the recorded results and the report."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from experiments.reproduce import SECTIONS
from sbp.config.paths import experiments_dir, output_root
from sbp.report.markdown import claims_table, replace_between
from sbp.report.page import ClaimRow, Estimate, tally
from sbp.report.record import read_rows
from sbp.report.study import ORDER

PICTURES = ("two-defects-2-curves", "efficiency-1-bars")
README = Path(experiments_dir()).parent / "README.md"
COLUMNS = {
    "epochs": "epochs",
    "val/map": "val mAP",
    "test/map": "test mAP",
    "test/map/scratch": "test A",
    "test/map/broken": "test B",
}


def main(path: Path = README) -> None:
    """Rewrite what stands between the markers `claims` and `results`."""
    text = replace_between(path.read_text(encoding="utf-8"), "claims", claims_table(recorded_claims()))
    text = replace_between(text, "tally", f"**{tally(recorded_claims())}.**")
    path.write_text(replace_between(text, "results", results_table(recorded_runs())), encoding="utf-8")
    copy_pictures(Path(output_root()) / "report" / "cpu" / "figures", path.parent / "docs" / "images")
    print(f"{path}: tables of {len(recorded_claims())} claims and {len(recorded_runs())} runs")


def copy_pictures(figures: Path, images: Path) -> None:
    """The report's figures that the documents show, if there is a report."""
    for name in PICTURES:
        if (figures / f"{name}.png").is_file():
            images.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figures / f"{name}.png", images / f"{name}.png")


def recorded_claims() -> list[ClaimRow]:
    """Every claim with a recorded verdict, in the order of the sections."""
    found: dict[str, ClaimRow] = {}
    for section in ORDER:
        for row in _rows(section, "verdicts.csv"):
            known = found.get(row["id"])
            rules, measured = ([*known.rules], [*known.measured]) if known else ([], [])
            if row.get("rule"):
                rules.append(row["rule"])
                measured.append(row["measured"])
            found[row["id"]] = ClaimRow(
                row["id"], row["source"], row["claim"], rules, measured, row["verdict"], ""
            )
    return list(found.values())


def recorded_runs() -> list[dict[str, str]]:
    """Every recorded run once, however many sections hold it."""
    return list({row["run_id"]: row for name in SECTIONS for row in _rows(name, "results.csv")}.values())


def _rows(section: str, name: str) -> list[dict[str, str]]:
    path = Path(experiments_dir()) / section / name
    return read_rows(path) if path.is_file() else []


def results_table(rows: Iterable[dict[str, str]]) -> str:
    """Markdown: one line per arm, mean and range over seeds, best test mAP first."""
    arms: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        arms.setdefault(row["label"], []).append(row)
    ranked = sorted(arms.items(), key=lambda item: -_estimate(item[1], "test/map").mean)
    lines = ["| run | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for label, members in ranked:
        cells = [f"{_estimate(members, 'epochs').mean:.0f}"]
        cells += [str(_estimate(members, key)) for key in list(COLUMNS)[1:]]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _estimate(rows: list[dict[str, str]], key: str) -> Estimate:
    return Estimate.of(float(row[key]) for row in rows if row.get(key))


if __name__ == "__main__":
    sys.exit(main())
