"""One MLflow run, from its parameters to its end."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAM_CHARACTERS = 6000


class MlflowTracker:
    """Writes to one run through a client of its own: no global MLflow state is touched."""

    def __init__(self, client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, Any]):
        self.client = client
        run = client.create_run(experiment, run_name=name, tags={k: str(v) for k, v in tags.items()})
        self.run_id, self.experiment = run.info.run_id, experiment

    def log_params(self, params: Mapping[str, Any]) -> None:
        """The run's parameters, by which the UI groups and compares."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:PARAM_CHARACTERS]) for key, value in params.items()]
        for start in range(0, len(entries), 100):
            self.client.log_batch(self.run_id, params=entries[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """One call per step; NaN and infinities are left out, as the UI's axes cannot show them."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = [Metric(key, float(v), now, step) for key, v in metrics.items() if math.isfinite(v)]
        self.client.log_batch(self.run_id, metrics=finite)

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        """An image (h, w, 3) uint8 of a series that the UI can step through."""
        self.client.log_image(self.run_id, image, key=key, step=step)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Copy a file into the run's artifacts, below `folder`."""
        self.client.log_artifact(self.run_id, str(path), folder or None)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags in one call."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, str(v)) for key, v in tags.items()])

    def log_data(self, name: str, digest: str, path: Path, counts: Mapping[str, int]) -> None:
        """Say which data set the run used, in MLflow's own data set column. counts: images by split."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": str(path)}),
            profile=json.dumps({f"{split}_images": count for split, count in counts.items()}),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status)
