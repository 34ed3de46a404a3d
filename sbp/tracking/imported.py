"""Finished runs that were trained elsewhere, put into the store with what was recorded of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sbp.tracking.mlflow_run import AT_ONCE
from sbp.tracking.runs import RecordedRun, join_sweep

if TYPE_CHECKING:
    from mlflow import MlflowClient

IMPORTED = "recorded"
"""The tag that says so."""
ROW = "recorded.row"
"""The tag with the row of results.csv that the run was made from, as JSON."""
Series = Mapping[str, Mapping[int, float]]
"""Metrics by key: step to value."""


@dataclass(frozen=True)
class ImportedRun:
    """What the store is to hold. started: milliseconds since 1970; times: seconds after that, by step."""

    name: str
    started: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    series: Series
    times: Mapping[int, float]


def is_imported(run: RecordedRun) -> bool:
    """Whether the run was trained elsewhere."""
    return run.tags.get(IMPORTED) == "true"


def import_run(client: "MlflowClient", experiment: str, run: ImportedRun) -> str:
    """Make the run and return its id. It counts as finished only once everything is there: one that is cut
    off stays RUNNING, see `remove_unfinished`. experiment: its id."""
    from mlflow.entities import Param

    tags = {**run.tags, IMPORTED: "true"}
    made = client.create_run(experiment, start_time=run.started, run_name=run.name, tags=tags).info.run_id
    params, size = [Param(key, value) for key, value in run.params.items()], AT_ONCE["params"]
    for start in range(0, len(params), size):
        client.log_batch(made, params=params[start : start + size])
    log_series(client, made, run)
    end = run.started + round(1000 * max(run.times.values(), default=0.0))
    client.set_terminated(made, "FINISHED", end)
    return made


def complete_run(client: "MlflowClient", known: RecordedRun, run: ImportedRun, same: bool) -> None:
    """Let a run that is there belong to the sections that hold it. same: it was imported from this one, and
    gets the metrics that were recorded since."""
    sections = {key: tag for key, tag in run.tags.items() if key.startswith("section.")}
    if new := {key: tag for key, tag in sections.items() if key not in known.tags}:
        join_sweep(client, known, None, new)
    series = {key: values for key, values in run.series.items() if key not in known.metrics}
    if same and series:
        log_series(client, known.run_id, replace(run, series=series))


def log_series(client: "MlflowClient", run_id: str, run: ImportedRun) -> None:
    """Log all of the run's metrics."""
    from mlflow.entities import Metric

    size = AT_ONCE["metrics"]
    points = [
        Metric(key, value, run.started + round(1000 * run.times.get(step, 0.0)), step)
        for key, values in run.series.items()
        for step, value in values.items()
    ]
    for start in range(0, len(points), size):
        client.log_batch(run_id, metrics=points[start : start + size])


def remove_unfinished(client: "MlflowClient", experiment: str) -> int:
    """Delete runs whose import was cut off, and return how many. experiment: its id."""
    condition = f"tags.{IMPORTED} = 'true' AND attributes.status = 'RUNNING'"
    left = client.search_runs([experiment], condition, max_results=1000)
    for run in left:
        client.delete_run(run.info.run_id)
    return len(left)
