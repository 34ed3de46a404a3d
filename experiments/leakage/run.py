"""Train on Magnetic Tile split by tile and split by image, and record both scores side by side."""

import argparse
import sys
from pathlib import Path

from experiments.reproduce import quiet
from sbp.conf_path import output_root
from sbp.errors import UserError
from sbp.preflight import check_overrides
from sbp.report.markdown import replace_between
from sbp.report.page import Estimate
from sbp.report.results import result_row, run_label, write_rows
from sbp.sweep.board import board
from sbp.sweep.remaining import remaining
from sbp.tracking import open_store
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.train import start

HERE = Path(__file__).parent


def main() -> None:
    """Command line: the folder of the published set, seeds, further overrides."""
    parser = argparse.ArgumentParser("python -m experiments.leakage.run", description=__doc__)
    parser.add_argument("root", help="folder that holds MT_Free, MT_Blowhole, ...")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_intermixed_args()
    command = ["-m", "+experiment=leakage", f"data.root={options.root}", f"seed={options.seeds}"]
    try:
        plan = check_overrides([*command, *options.overrides])
    except UserError as error:
        print(f"leakage: {error}", file=sys.stderr)
        sys.exit(2)
    with board(len(remaining([job.config for job in plan.jobs]))):
        failed = start([*command, *options.overrides, *quiet()])
    record(read_runs(open_store(None, output_root()), "sbp", "tags.`section.leakage` LIKE '%'"))
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        sys.exit(1)


def record(runs: list[RecordedRun]) -> None:
    """Write results.csv and the table of README.md from the finished runs, the newest of each arm and
    seed."""
    finished = {(*arm(run), run.seed): run for run in runs if run.status == "FINISHED"}
    ordered = [run for _, run in sorted(finished.items())]
    write_rows([result_row(run) | {"data.root": ""} for run in ordered], HERE / "results.csv")
    path = HERE / "README.md"
    text = replace_between(path.read_text(encoding="utf-8"), "table", table(ordered))
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(finished)} runs")


def arm(run: RecordedRun) -> tuple[float, str]:
    """Baseline epochs of the budget, and how it was trained and split: what seeds are averaged over."""
    return float(run.params["budget.compute"]), run_label(run)


def table(runs: list[RecordedRun]) -> str:
    """Markdown: a line per arm; metrics of the last epoch, mean and range over seeds."""
    arms: dict[tuple[float, str], list[RecordedRun]] = {}
    for run in runs:
        arms.setdefault(arm(run), []).append(run)
    defects = runs[0].defects if runs else []
    columns = ["val/map", "test/map", "test/pixel_ap", *(f"test/map/{defect}" for defect in defects)]
    lines = [
        "| baseline epochs | run | seeds | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for (epochs, label), members in arms.items():
        cells = [str(Estimate.of(run.last(key) for run in members)) for key in columns]
        lines.append(f"| {epochs:g} | {label} | {len(members)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
