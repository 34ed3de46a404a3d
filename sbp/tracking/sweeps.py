"""Parent runs of sweeps, and runs that need not be repeated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sbp.tracking.runs import RecordedRun, read_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"


def open_parent(client: "MlflowClient", experiment: str, name: str, key: str, tags: Mapping[str, Any]) -> str:
    """Id of the sweep's parent run: that of an earlier, interrupted or extended sweep with the same key, or
    a new one. experiment: its id."""
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
