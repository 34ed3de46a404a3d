"""`make demo`: train baseline and focus at equal compute, print the comparison, draw the picture."""

import csv
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np

from sbp.config.paths import output_root
from sbp.plots.comparison import Example, RunCurve, comparison_figure
from sbp.plots.style import save_png
from sbp.predict import evaluate_split, predict_split
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from sbp.utils.progress import clock

COLUMNS = ("run", "epochs", "compute", "training", "kept", "val mAP", "test mAP")


def main() -> None:
    """Run the sweep of conf/experiment/demo.yaml and compare its runs; extra arguments are overrides."""
    started, demo = time.monotonic(), uuid.uuid4().hex[:8]
    command = [sys.executable, "-m", "sbp.train", "experiment=demo", f"+tags.demo={demo}", *sys.argv[1:]]
    subprocess.run(command, check=True)
    runs = read_runs(open_store(None, output_root()), "sbp", f"tags.demo = '{demo}'")
    tests = {run.run_id: evaluate_split(run.folder / "last.pt", "test") for run in runs}
    print_table(runs, tests)
    path = Path(output_root()) / "demo" / "comparison.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(comparison(runs), path, scale=2)
    write_results(runs, tests, path.with_name("results.csv"))
    print(f"\ncomparison picture: {path}")
    print(f"in the MLflow UI:   make ui     (took {clock(time.monotonic() - started)})")


def label(run: RecordedRun) -> str:
    """What the figure calls a run: its name without data set and seed."""
    return run.name.split(" / ")[0]


def defects_of(run: RecordedRun) -> list[str]:
    """The defects that a run has a metric for, in the data set's order."""
    return [d.strip(" '\"") for d in run.params["data.defects"].strip("[]").split(",")]


def print_table(runs: list[RecordedRun], tests: dict[str, dict[str, float]]) -> None:
    """One row per run, per-defect values behind the means."""
    defects = defects_of(runs[0])
    rows = [COLUMNS + tuple(f"test {defect}" for defect in defects)]
    for run in runs:
        test = tests[run.run_id]
        rows.append(
            (
                label(run),
                f"{len(run.values('train/loss'))}",
                f"{run.last('cost/baseline_epochs'):.2f} epochs",
                clock(run.last("time/work_s")),
                f"{run.values('train/kept_fraction').mean():.0%}",
                f"{run.last('val/map'):.3f}",
                f"{test['test/map']:.3f}",
                *(f"{test[f'test/map/{defect}']:.3f}" for defect in defects),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_results(runs: list[RecordedRun], tests: dict[str, dict[str, float]], path: Path) -> None:
    """One row per run: what it was, where it ran, what came out."""
    with open(path, "w", newline="") as file:
        writer: csv.DictWriter | None = None
        for run in runs:
            row: dict[str, object] = {"run": label(run)}
            row |= {key: run.params[key] for key in ("seed", "selection", "staleness", "beta", "scale")}
            row |= {
                key: run.tags[key] for key in ("git.commit", "git.dirty", "hardware.cpu", "version.torch")
            }
            for key in ("cost/baseline_epochs", "time/work_s", "val/map", "val/clean_map"):
                row[key] = f"{run.last(key):.4f}"
            row |= {key: f"{value:.4f}" for key, value in tests[run.run_id].items()}
            if writer is None:
                writer = csv.DictWriter(file, row)
                writer.writeheader()
            writer.writerow(row)


def curve(run: RecordedRun) -> RunCurve:
    """A run's metrics over its compute; NaN in epochs without validation."""
    reference, defects = "train/loss", defects_of(run)
    return RunCurve(
        label=label(run),
        cost=run.at_steps_of(reference, "cost/baseline_epochs"),
        seconds=np.diff(run.at_steps_of(reference, "time/work_s"), prepend=0.0),
        map_per_defect={d: run.at_steps_of(reference, f"val/map/{d}") for d in defects},
        loss_per_defect={d: run.at_steps_of(reference, f"val/loss/{d}") for d in defects},
    )


def comparison(runs: list[RecordedRun], examples_per_defect: int = 1):
    """The figure: mAP over compute, and what each run's last model predicts on a few test images."""
    chosen: np.ndarray | None = None
    predictions: dict[str, np.ndarray] = {}
    split = None
    for run in runs:
        split, probabilities = predict_split(run.folder / "last.pt", "test")
        predictions[label(run)] = probabilities
    assert split is not None
    # the first images that hold each defect: chosen by number, not by how well they come out
    chosen = np.concatenate([np.flatnonzero(column)[:examples_per_defect] for column in split.labels.T])
    examples = [
        Example(
            image=np.array(split.images[i]),
            annotation=np.array(split.masks[i]),
            predictions={name: p[i].transpose(1, 2, 0) for name, p in predictions.items()},
        )
        for i in dict.fromkeys(chosen.tolist())
    ]
    title = "Baseline and selective training at the same compute"
    return comparison_figure([curve(run) for run in runs], defects_of(runs[0]), examples, title=title)


if __name__ == "__main__":
    main()
