"""Reading recorded runs back: what reports and comparisons start from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class RecordedRun:
    """One run as MLflow has it. metrics: per key its steps and values, both (T,), in the order of steps."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, tuple[np.ndarray, np.ndarray]] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The run's own folder, with its checkpoints."""
        return Path(self.tags["run_dir"])

    def values(self, key: str) -> np.ndarray:
        """(T,) values of a metric; empty if it was never logged."""
        return self.metrics[key][1] if key in self.metrics else np.empty(0)

    def last(self, key: str) -> float:
        """The last value of a metric; NaN if it was never logged."""
        values = self.values(key)
        return float(values[-1]) if len(values) else float("nan")

    def at_steps_of(self, reference: str, key: str) -> np.ndarray:
        """Values of `key` at the steps where `reference` was logged; NaN where it is missing."""
        if reference not in self.metrics or key not in self.metrics:
            return np.full(len(self.values(reference)), np.nan)
        known = dict(zip(*self.metrics[key], strict=True))
        return np.array([known.get(step, np.nan) for step in self.metrics[reference][0]])


def read_runs(client: "MlflowClient", experiment: str, filter_string: str = "") -> list[RecordedRun]:
    """Runs of an experiment (by name), oldest first, with every metric's whole history."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    runs = client.search_runs([found.experiment_id], filter_string, order_by=["attributes.start_time ASC"])
    return [
        RecordedRun(
            run.info.run_id,
            run.info.run_name or "",
            run.info.status,
            dict(run.data.params),
            dict(run.data.tags),
            {key: _history(client, run.info.run_id, key) for key in run.data.metrics},
        )
        for run in runs
    ]


def _history(client: "MlflowClient", run_id: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    points = sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, key))
    return np.array([p[0] for p in points]), np.array([p[2] for p in points])
