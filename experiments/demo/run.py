"""`make demo`: train baseline and focus at equal compute, print the comparison, draw the picture.

The picture shows mAP over compute and, on a few test images (see examples.py), what each model predicts and
whether that is a hit, a miss, a false alarm or a missing annotation.
"""

import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.demo.examples import chosen_images, example_of, rules
from sbp.config import from_values
from sbp.config.paths import output_root
from sbp.plots.comparison import comparison_figure, comparison_metrics
from sbp.plots.style import save_png
from sbp.predict import evaluate_split, predict_split
from sbp.report.results import kept_fraction, write_rows
from sbp.report.run_curves import full_label, run_curve
from sbp.run.checkpoint import load_checkpoint
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
    runs.sort(key=lambda run: run.params["selection"] != "none")  # the baseline first, whichever ended first
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
            "run": full_label(run),
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
    row = {"run": full_label(run)}
    row |= {key: run.params[key] for key in ("seed", "selection", "staleness", "beta", "scale")}
    row |= {key: run.tags[key] for key in ("git.commit", "git.dirty", "hardware.cpu", "version.torch")}
    for key in ("cost/baseline_epochs", "time/work_s", "val/map", "val/clean_map"):
        row[key] = f"{run.last(key):.4f}"
    return row | {key: f"{value:.4f}" for key, value in test.items()}


def comparison(runs: list[RecordedRun]) -> Figure:
    """The figure: mAP over compute, and what each run's last model predicts on a few test images, judged."""
    probabilities: dict[str, np.ndarray] = {}
    for run in runs:
        split, probabilities[full_label(run)] = predict_split(run.folder / "last.pt", "test")
    defects = runs[0].defects
    evaluation = from_values(load_checkpoint(runs[0].folder / "last.pt").config).evaluation
    examples = [example_of(split, i, probabilities, defects, evaluation) for i in chosen_images(split)]
    curves = [run_curve(run, comparison_metrics(defects)) for run in runs]
    title = "Baseline and selective training at the same compute"
    return comparison_figure(curves, defects, examples, title=title, examples_notes=rules(split, evaluation))


if __name__ == "__main__":
    main()
