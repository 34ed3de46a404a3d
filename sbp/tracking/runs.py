"""Recorded runs: read back for reports, found again instead of repeated, nested under their sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbp.errors import UserError
from sbp.tracking.histories import Histories, History, HistoryReader

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class RecordedRun:
    """One run as MLflow has it. metrics: per key its steps and values, both (T,), in the order of steps.
    started: milliseconds since 1970."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: Mapping[str, History] = field(repr=False)
    started: int = 0
    client: "MlflowClient | None" = field(default=None, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The run's own folder, with its checkpoints. Raises UserError for a run that was trained
        elsewhere."""
        if "run_dir" not in self.tags:
            raise UserError(f"{self.name}: was trained elsewhere, only its results are here")
        return Path(self.tags["run_dir"])

    @property
    def defects(self) -> list[str]:
        """The defects that the run has metrics for, in the data set's order."""
        return _names(self.params["data.defects"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.params["seed"])

    @property
    def results_version(self) -> str:
        """The version of what the code computed; of runs from before there was one, that of the code."""
        return self.tags.get("results.version", self.tags.get("code.version", ""))

    def first_of(self, group: str) -> str:
        """The first defect of `data.common` or `data.rare`."""
        return _names(self.params[f"data.{group}"])[0]

    def artifact(self, path: str) -> Path | None:
        """A local copy of one of the run's artifacts; None if it has no such artifact."""
        if self.client is None:
            return None
        there = self.client.list_artifacts(self.run_id, str(Path(path).parent))
        if path not in {entry.path for entry in there}:
            return None
        return Path(self.client.download_artifacts(self.run_id, path))

    def series(self, key: str) -> History:
        """Steps and values of a metric, both (T,); empty if it was never logged."""
        return self.metrics[key] if key in self.metrics else (np.empty(0), np.empty(0))

    def values(self, key: str) -> np.ndarray:
        """(T,) values of a metric; empty if it was never logged."""
        return self.series(key)[1]

    def last(self, key: str) -> float:
        """The last value of a metric; NaN if it was never logged."""
        values = self.values(key)
        return float(values[-1]) if len(values) else float("nan")

    def at_steps_of(self, reference: str, key: str) -> np.ndarray:
        """Values of `key` at the steps where `reference` was logged; NaN where it is missing."""
        return values_at(self.series(reference)[0], *self.series(key))


def values_at(wanted: np.ndarray, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (n,) at the wanted steps (n,), of a series with ascending steps (T,); NaN where it has none."""
    found = np.full(len(wanted), np.nan)
    if len(steps):
        places = np.clip(np.searchsorted(steps, wanted, side="right") - 1, 0, None)
        there = steps[places] == wanted
        found[there] = values[places[there]]
    return found


def _names(text: str) -> list[str]:
    """The names in a parameter such as "['scratch', 'broken']"."""
    return [name.strip(" '\"") for name in text.strip("[]").split(",")]


def is_deleted(client: "MlflowClient", run_id: str) -> bool:
    """Whether somebody deleted the run; False if the store does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.lifecycle_stage == "deleted"
    except MlflowException as error:
        return error.error_code == "RESOURCE_DOES_NOT_EXIST"


def read_runs(client: "MlflowClient", experiment: str, filter_string: str = "") -> list[RecordedRun]:
    """Runs of an experiment (by name), oldest first; parents of sweeps are left out."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    order = ["attributes.start_time ASC"]
    search = partial(client.search_runs, [found.experiment_id], filter_string, order_by=order)
    page = search()
    runs = list(page)
    while page.token:
        page = search(page_token=page.token)
        runs += page
    reader = HistoryReader(client, {run.info.run_id: list(run.data.metrics) for run in runs})
    return [
        RecordedRun(
            run.info.run_id,
            run.info.run_name or "",
            run.info.status,
            dict(run.data.params),
            dict(run.data.tags),
            Histories(reader, run.info.run_id),
            run.info.start_time,
            client,
        )
        for run in runs
        if run.data.tags.get("sweep.parent") != "true"
    ]


def open_parent(client: "MlflowClient", experiment: str, name: str, key: str, tags: Mapping[str, Any]) -> str:
    """Id of the sweep's parent run, that of an earlier sweep with the same key if any. experiment: its id."""
    found = client.search_runs([experiment], f"tags.`sweep.key` = '{key}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0].info.run_id
    all_tags = {"sweep.key": key, "sweep.parent": "true", **{k: str(v) for k, v in tags.items()}}
    return client.create_run(experiment, run_name=name, tags=all_tags).info.run_id


def find_finished(
    client: "MlflowClient", experiment: str, fingerprint: str, exclusive: bool
) -> RecordedRun | None:
    """The newest finished run with this fingerprint; with `exclusive`, one that had the machine to itself.

    experiment: its name.
    """
    condition = f"tags.fingerprint = '{fingerprint}' AND attributes.status = 'FINISHED'"
    runs = read_runs(client, experiment, condition)
    if exclusive:  # the tag was called `alone` in runs recorded before
        runs = [run for run in runs if "true" in (run.tags.get("exclusive"), run.tags.get("alone"))]
    return runs[-1] if runs else None


def join_sweep(client: "MlflowClient", run: RecordedRun, parent: str | None, tags: Mapping[str, str]) -> None:
    """Let a finished run count in another sweep as well: it is listed in the sweep's parent run."""
    from mlflow.entities import RunTag

    new = dict(tags)
    if parent:
        known = run.tags.get("sweeps", "").split(",")
        if parent not in known:
            new["sweeps"] = ",".join([*(k for k in known if k), parent])
        if PARENT not in run.tags:
            new[PARENT] = parent
    client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in new.items()])


def runs_of_sweep(client: "MlflowClient", experiment: str, parent: str) -> list[RecordedRun]:
    """Runs that a sweep started or took over. experiment: its name."""
    return read_runs(client, experiment, f"tags.sweeps LIKE '%{parent}%'")
