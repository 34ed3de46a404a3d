"""What a sweep's parent run holds at its end: a table of its runs, and their comparison as a figure."""

from pathlib import Path
from typing import TYPE_CHECKING

from sbp.metrics import names
from sbp.metrics.tasks import task_of_metrics
from sbp.plots.comparison import comparison_figure, comparison_metrics
from sbp.plots.style import save_png
from sbp.report.documents import markdown_rows
from sbp.report.results import result_row, write_rows
from sbp.report.run_curves import full_label, run_curve
from sbp.tracking.runs import RecordedRun, runs_of_sweep

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_summary(client: "MlflowClient", experiment: str, parent: str, folder: Path) -> None:
    """Write table.csv and comparison.png to `folder` and to the parent run, and its description.

    experiment: its name. Runs that another sweep had finished before are listed too.
    """
    runs = runs_of_sweep(client, experiment, parent)
    if not runs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_rows([result_row(run) for run in runs], folder / "table.csv")
    client.log_artifact(parent, str(folder / "table.csv"))
    client.set_tag(parent, "mlflow.note.content", description(runs, parent))
    finished = [run for run in runs if run.status == "FINISHED" and len(run.values("train/loss"))]
    if finished:
        defects = finished[0].defects
        same = [run for run in finished if run.defects == defects]
        key = task_of_metrics(finished[0].metrics).validated
        metrics = comparison_metrics(defects, losses=True, key=key)
        curves = [run_curve(run, metrics) for run in same]
        figure = comparison_figure(curves, defects, losses=True, key=key)
        save_png(figure, folder / "comparison.png", scale=2)
        client.log_artifact(parent, str(folder / "comparison.png"))


def description(runs: list[RecordedRun], parent: str) -> str:
    """A Markdown table of a sweep's runs, for the parent's description in the UI."""
    rows, taken = [], False
    task = task_of_metrics({key for run in runs for key in run.metrics})
    shown = (names.BASELINE_EPOCHS, task.validated, task.tested)
    for run in sorted(runs, key=lambda r: (full_label(r), r.seed)):
        elsewhere = run.tags.get("mlflow.parentRunId") != parent
        taken |= elsewhere
        values = [run.last(key) for key in shown]
        name = full_label(run).replace("|", "\\|") + (" *" if elsewhere else "")
        numbers = [f"{value:.3f}" if value == value else "–" for value in values]
        rows.append([name, str(run.seed), run.status, *numbers])
    table = markdown_rows(["run", "seed", "status", "compute", *shown[1:]], rows)
    note = "\n\n\\* the same run belongs to another sweep, under whose parent it is nested"
    return table + note * taken
