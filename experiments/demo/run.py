"""`make demo`: train baseline and focus at equal compute, print the comparison, draw the picture."""

import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np

from sbp.config.paths import output_root
from sbp.plots.comparison import Example, comparison_figure, comparison_metrics
from sbp.plots.style import save_png
from sbp.predict import evaluate_split, predict_split
from sbp.report.results import kept_fraction, write_rows
from sbp.report.run_curves import run_curve, run_label
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from sbp.utils.pipes import outlive_closed_pipes
from sbp.utils.progress import clock


def main() -> None:
    """Run the sweep of conf/experiment/demo.yaml and compare its runs; extra arguments are overrides."""
    outlive_closed_pipes()
    started, demo = time.monotonic(), uuid.uuid4().hex[:8]
    command = [sys.executable, "-m", "sbp.train", "experiment=demo", f"+tags.demo={demo}", *sys.argv[1:]]
    if code := subprocess.run(command).returncode:
        sys.exit(code)
    runs = read_runs(open_store(None, output_root()), "sbp", f"tags.demo = '{demo}'")
    tests = {run.run_id: evaluate_split(run.folder / "last.pt", "test") for run in runs}
    print_table(runs, tests)
    path = Path(output_root()) / "demo" / "comparison.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(comparison(runs), path, scale=2)
    write_rows([result(run, tests[run.run_id]) for run in runs], path.with_name("results.csv"))
    print(f"\ncomparison picture: {path}")
    print(f"in the MLflow UI:   make ui     (took {clock(time.monotonic() - started)})")


def print_table(runs: list[RecordedRun], tests: dict[str, dict[str, float]]) -> None:
    """One row per run, per-defect values behind the means."""
    from pandas import DataFrame

    rows = [
        {
            "run": run_label(run),
            "epochs": f"{len(run.values('train/loss'))}",
            "compute": f"{run.last('cost/baseline_epochs'):.2f} epochs",
            "training": clock(run.last("time/work_s")),
            "kept": f"{kept_fraction(run):.0%}",
            "val mAP": f"{run.last('val/map'):.3f}",
            "test mAP": f"{tests[run.run_id]['test/map']:.3f}",
        }
        | {f"test {defect}": f"{tests[run.run_id][f'test/map/{defect}']:.3f}" for defect in run.defects}
        for run in runs
    ]
    print("\n" + DataFrame(rows).to_string(index=False))


def result(run: RecordedRun, test: dict[str, float]) -> dict[str, str]:
    """What the run was, where it ran, what came out."""
    row = {"run": run_label(run)}
    row |= {key: run.params[key] for key in ("seed", "selection", "staleness", "beta", "scale")}
    row |= {key: run.tags[key] for key in ("git.commit", "git.dirty", "hardware.cpu", "version.torch")}
    for key in ("cost/baseline_epochs", "time/work_s", "val/map", "val/clean_map"):
        row[key] = f"{run.last(key):.4f}"
    return row | {key: f"{value:.4f}" for key, value in test.items()}


def comparison(runs: list[RecordedRun], examples_per_defect: int = 1):
    """The figure: mAP over compute, and what each run's last model predicts on a few test images."""
    predictions: dict[str, np.ndarray] = {}
    split = None
    for run in runs:
        split, probabilities = predict_split(run.folder / "last.pt", "test")
        predictions[run_label(run)] = probabilities
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
    title, defects = "Baseline and selective training at the same compute", runs[0].defects
    curves = [run_curve(run, comparison_metrics(defects)) for run in runs]
    return comparison_figure(curves, defects, examples, title=title)


if __name__ == "__main__":
    main()
