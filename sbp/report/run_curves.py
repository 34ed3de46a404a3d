"""From recorded runs to the curves of figures."""

from collections.abc import Iterable, Sequence

import numpy as np

from sbp.plots.curve import Curve
from sbp.report.measures import SHORT
from sbp.tracking.runs import RecordedRun

EVERY_EPOCH = "train/loss"
"""A metric that every epoch has: its steps are the run's epochs."""
ROUNDS = "labelled/"
"""How the metrics begin whose steps are rounds of annotating, not epochs."""
ANNOTATED = ("images", "defects")


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

    label: None for `full_label`. Metrics of rounds of annotating are over rounds, and what was annotated.
    """
    label, metrics = full_label(run) if label is None else label, list(metrics)
    if any(key.startswith(ROUNDS) for key in metrics):
        return _round_curve(run, metrics, label)
    return Curve(
        label=label,
        seed=run.seed,
        epoch=run.series(EVERY_EPOCH)[0].astype(int),
        cost=run.at_steps_of(EVERY_EPOCH, "cost/baseline_epochs"),
        seconds=run.at_steps_of(EVERY_EPOCH, "time/work_s"),
        values={key: run.at_steps_of(EVERY_EPOCH, key) for key in metrics},
    )


def _round_curve(run: RecordedRun, metrics: Sequence[str], label: str) -> Curve:
    every_round = f"{ROUNDS}{ANNOTATED[0]}"
    rounds = run.series(every_round)[0].astype(int)
    nothing = np.full(len(rounds), np.nan)
    values = {key: run.at_steps_of(every_round, key) for key in metrics}
    annotated = {axis: run.at_steps_of(every_round, ROUNDS + axis) for axis in ANNOTATED}
    return Curve(label, run.seed, rounds, nothing, nothing, values, annotated)
