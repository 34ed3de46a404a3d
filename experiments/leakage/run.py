"""Train on Magnetic Tile split by tile and split by image, and record both scores side by side."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.reproduce import quiet
from sbp.config.paths import output_root
from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from sbp.report.documents import markdown_rows, replace_between
from sbp.report.page import Estimate
from sbp.report.results import read_rows, result_row, write_rows
from sbp.sweep.progress import differing, sweep_progress
from sbp.sweep.remaining import remaining
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from sbp.train import start
from sbp.utils.pipes import outlive_closed_pipes

HERE = Path(__file__).parent


def main() -> None:
    """Command line: the folder of the published set, seeds, further overrides."""
    outlive_closed_pipes()
    parser = argparse.ArgumentParser("python -m experiments.leakage.run", description=__doc__)
    parser.add_argument("root", help="folder that holds MT_Free, MT_Blowhole, ...")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_intermixed_args()
    command = ["-m", "experiment=leakage", f"data.root={options.root}", f"seed={options.seeds}"]
    try:
        plan = check_overrides([*command, *options.overrides])
        left = remaining([job.config for job in plan.jobs])
    except UserError as error:
        print(f"leakage: {error}", file=sys.stderr)
        sys.exit(2)
    with sweep_progress(len(left), differing(job.overrides for job in plan.jobs)):
        failed = start([*command, *options.overrides, *quiet()])
    record(read_runs(open_store(None, output_root()), "sbp", "tags.`section.leakage` LIKE '%'"))
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        sys.exit(1)


def record(runs: Iterable[RecordedRun]) -> None:
    """Bring finished runs into results.csv, and what it holds into the table of README.md. A run takes the
    place of an earlier one of the same arm and seed."""
    path = HERE / "results.csv"
    rows = read_rows(path)
    rows += [result_row(run) | {"data.root": ""} for run in runs if run.status == "FINISHED"]
    known = {(*arm(row), int(row["seed"])): row for row in rows}
    rows = [row for _, row in sorted(known.items())]
    write_rows(rows, path)
    page = HERE / "README.md"
    page.write_text(replace_between(page.read_text(encoding="utf-8"), "table", table(rows)), encoding="utf-8")
    print(f"{page}: {len(rows)} runs")


def arm(row: Mapping[str, str]) -> tuple[int, float, str]:
    """Pixels of an image's side, baseline epochs of the budget, and how it was trained and split: what seeds
    are averaged over."""
    return int(row["data.image_size"]), float(row["budget.compute"]), row["label"]


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Markdown: a line per arm; metrics of the last epoch, mean and range over seeds."""
    arms: dict[tuple[int, float, str], list[Mapping[str, str]]] = {}
    for row in rows:
        arms.setdefault(arm(row), []).append(row)
    columns = ["val/map", "test/map", "test/pixel_ap"]
    columns += [key for key in rows[0] if key.startswith("test/map/")]
    cells = [
        [str(pixels), f"{epochs:g}", label, str(len(members))]
        + [str(Estimate.of(float(row[key] or "nan") for row in members)) for key in columns]
        for (pixels, epochs, label), members in arms.items()
    ]
    return markdown_rows(["pixels", "baseline epochs", "run", "seeds", *columns], cells)


if __name__ == "__main__":
    main()
