"""From recorded runs to the curves of figures."""

from collections.abc import Iterable

from sbp.plots.curve import Curve
from sbp.report.measures import SHORT
from sbp.tracking.runs import RecordedRun

EVERY_EPOCH = "train/loss"
"""A metric that every epoch has: its steps are the run's epochs."""


def run_label(run: RecordedRun) -> str:
    """What figures and tables call a run: its label, or its name without section, data set and seed."""
    label = run.params.get("label", "None")
    return label if label != "None" else run.name.split(" / ")[0]


def full_label(run: RecordedRun) -> str:
    """The label, with the budget if it is not the short one: what tells the runs of a sweep apart."""
    budget = run.params.get("budget", SHORT)
    return run_label(run) + ("" if budget == SHORT else f", {budget}")


def run_curve(run: RecordedRun, metrics: Iterable[str], label: str | None = None) -> Curve:
    """The named metrics of a run over epochs, compute and seconds; NaN where not measured.

    label: None for `full_label`.
    """
    return Curve(
        label=full_label(run) if label is None else label,
        seed=run.seed,
        epoch=run.series(EVERY_EPOCH)[0].astype(int),
        cost=run.at_steps_of(EVERY_EPOCH, "cost/baseline_epochs"),
        seconds=run.at_steps_of(EVERY_EPOCH, "time/work_s"),
        values={key: run.at_steps_of(EVERY_EPOCH, key) for key in metrics},
    )
