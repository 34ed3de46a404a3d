"""The curves that are recorded beside a section's results: which metrics, at which epochs, how exactly.

A report shows and judges runs `as_recorded`, so that it says the same of a run, whether that was trained on
this store or imported from what another machine recorded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sbp.metrics.names import told_by
from sbp.metrics.tasks import task_of_metrics
from sbp.plots.comparison import comparison_metrics
from sbp.report.measures import X_METRICS, ran_exclusively
from sbp.report.results import DIGITS
from sbp.report.run_curves import EVERY_EPOCH
from sbp.report.section_figures import figure_metrics
from sbp.report.section_file import default_figures
from sbp.report.sections import Section, known_sections
from sbp.tracking.runs import History, RecordedRun

WHOLE = 64
"""A metric with at most so many values keeps them all; one with more keeps those of the epochs that have what
the run validates by, its first, and its last."""


def as_recorded(run: RecordedRun) -> RecordedRun:
    """The run with its metrics as they are recorded; of one that is so already, the same."""
    return replace(run, metrics=_AsRecorded(run))


class _AsRecorded(Mapping[str, History]):
    """A run's metrics, thinned and rounded. The axes keep every epoch: they are recorded wherever anything
    is."""

    def __init__(self, run: RecordedRun):
        self._metrics = run.metrics
        self._whole = ran_exclusively(run)
        self._known: dict[str, History] = {}

    def __getitem__(self, key: str) -> History:
        if key not in self._known:
            self._known[key] = self._thinned(key)
        return self._known[key]

    def _thinned(self, key: str) -> History:
        steps, values = self._metrics[key]
        last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]  # one value an epoch
        steps, values = steps[last], values[last]
        if len(steps) > WHOLE and not self._whole and key not in X_METRICS.values():
            kept = np.isin(steps, [steps[0], steps[-1], *self._validated()])
            steps, values = steps[kept], values[kept]
        return steps, np.array([float(f"{value:.{DIGITS}g}") for value in values])

    def _validated(self) -> np.ndarray:
        validated = task_of_metrics(self._metrics).validated
        return self._metrics[validated][0] if validated in self._metrics else np.empty(0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __contains__(self, key: object) -> bool:
        return key in self._metrics


def recorded_metrics(section: Section, run: RecordedRun, roles: Mapping[str, str]) -> list[str]:
    """What a section records of a run, those that it has: what every table shows, the section's figures and
    targets, and what claims of any section measure of the section's arms. roles: the defects' names for
    {common} and {rare}."""
    validated = task_of_metrics(run.metrics).validated
    shown = comparison_metrics(run.defects, key=validated)
    figures = section.file.figures if section.file else default_figures(shown)
    maps = [validated, *(f"{validated}/{defect}" for defect in run.defects)]
    wanted = [EVERY_EPOCH, *X_METRICS.values(), "train/kept_fraction"]
    wanted += [*maps, *(key.replace("val/", "test/") for key in maps)]
    wanted += [metric for spec in figures for metric in figure_metrics(spec, run, roles)]
    wanted += [target.metric.format(**roles) for target in (section.file.targets if section.file else ())]
    wanted += [metric.format(**roles) for metric in _judged_metrics(section)]
    return [key for key in dict.fromkeys(wanted) if key in run.metrics]


def _judged_metrics(section: Section) -> Iterator[str]:
    """What claims measure of the section's arms; of any arm, for the section's own claims; and what tells why
    a run lacks it."""
    for other in known_sections().values():
        for claim in other.file.claims if other.file else ():
            for measure in claim.measures():
                if other is section or {measure.arm, measure.until} & set(section.arms):
                    yield measure.metric
                    yield from told_by(measure.metric) or ()


def curve_rows(
    section: Section, runs: Iterable[tuple[str, RecordedRun]], roles: Mapping[str, str]
) -> list[dict[str, str]]:
    """A row per run and epoch with the section's metrics, blank where a run has no value. runs: each with the
    id that it has in results.csv."""
    rows = []
    for name, run in runs:
        thin, axes = as_recorded(run), X_METRICS.values()
        series = {key: _by_step(thin.metrics[key]) for key in recorded_metrics(section, run, roles)}
        steps = {step for key, values in series.items() if key not in axes for step in values}
        for step in sorted(steps):
            row = {"run_id": name, "step": str(step)}
            rows.append(row | {key: values[step] for key, values in series.items() if step in values})
    return _same_columns(rows)


def _by_step(history: History) -> dict[int, str]:
    return {int(step): f"{value:.{DIGITS}g}" for step, value in zip(*history, strict=True)}


def _same_columns(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows with all columns of any row, metrics in alphabetical order."""
    metrics = sorted({key for row in rows for key in row} - {"run_id", "step"})
    return [{key: row.get(key, "") for key in ["run_id", "step", *metrics]} for row in rows]
