"""From recorded runs to the curves of a comparison."""

import numpy as np

from sbp.plots.comparison import RunCurve
from sbp.tracking.runs import RecordedRun

EVERY_EPOCH = "train/loss"
"""A metric that every epoch has: its steps are the run's epochs."""


def run_label(run: RecordedRun) -> str:
    """What figures and tables call a run: its label, or its name without section, data set and seed."""
    label = run.params.get("label", "None")
    return label if label != "None" else run.name.split(" / ")[0]


def comparison_curve(run: RecordedRun) -> RunCurve:
    """A run's metrics over its compute; NaN in epochs without validation."""
    return RunCurve(
        label=run_label(run),
        cost=run.at_steps_of(EVERY_EPOCH, "cost/baseline_epochs"),
        seconds=np.diff(run.at_steps_of(EVERY_EPOCH, "time/work_s"), prepend=0.0),
        map_per_defect={d: run.at_steps_of(EVERY_EPOCH, f"val/map/{d}") for d in run.defects},
        loss_per_defect={d: run.at_steps_of(EVERY_EPOCH, f"val/loss/{d}") for d in run.defects},
    )
