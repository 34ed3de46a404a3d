"""One MLflow run, fed with the entries of an outbox; sending an entry twice changes nothing."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sbp.tracking.store import experiment_id
from sbp.utils.jsonlines import Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

AT_ONCE = {"params": 100, "tags": 100, "metrics": 1000}
"""How many of them MLflow takes in one request."""
PREVIEW = 256
"""Pixels of the longer side of an image's small version, which the UI shows first."""


class MlflowRun:
    """Sends entries to one run through a client of its own: no global MLflow state is touched.

    folder: the run's. run_id: None before the run is there; `found_id` is told when it is.
    """

    def __init__(
        self, client: "MlflowClient", folder: Path, run_id: str | None, found_id: Callable[[str], None]
    ):
        self.client, self.folder, self.run_id, self.found_id = client, folder, run_id, found_id

    def send(self, entry: Entry, in_doubt: bool) -> None:
        """Send one entry. in_doubt: an earlier attempt may have arrived. Metrics, parameters and tags that
        are there are left alone by MLflow; runs and images are looked for. Raises what MLflow raises."""
        content = dict(entry.content)
        kind = content.pop("kind")
        if kind in AT_ONCE:
            self._batch(kind, content)
        elif kind == "run":
            self._begin(content, in_doubt)
        elif kind == "image":
            self._image(content, in_doubt)
        else:
            getattr(self, f"_{kind}")(content)

    @property
    def _id(self) -> str:
        if self.run_id is None:
            raise ValueError(f"{self.folder}: the outbox does not begin with its run")
        return self.run_id

    def _begin(self, run: dict[str, Any], in_doubt: bool) -> None:
        experiment = experiment_id(self.client, run["experiment"], run["location"])
        if in_doubt:
            known = self.client.search_runs(
                [experiment], f"tags.journal = '{run['tags']['journal']}'", max_results=1
            )
            if known:
                self.run_id = known[0].info.run_id
        if self.run_id is None:
            created = self.client.create_run(
                experiment, start_time=run["time"], run_name=run["name"], tags=run["tags"]
            )
            self.run_id = created.info.run_id
        self.found_id(self.run_id)

    def _batch(self, kind: str, content: dict[str, Any]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        def metric(key: str, value: float) -> Metric:
            return Metric(key, value, content["time"], content["step"])

        entity: Any = {"params": Param, "tags": RunTag, "metrics": metric}[kind]
        entities, size = [entity(key, value) for key, value in content["values"].items()], AT_ONCE[kind]
        for start in range(0, len(entities), size):
            batch: dict[str, Any] = {kind: entities[start : start + size]}
            self.client.log_batch(self._id, **batch)

    def _data(self, content: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(
            name=content["name"],
            digest=content["digest"],
            source_type="local",
            source=json.dumps({"uri": content["path"]}),
            profile=json.dumps(content["profile"]),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        try:
            self.client.log_inputs(self._id, inputs)
        except MlflowException as error:
            if not re.search("IntegrityError|UniqueViolation", str(error)):
                raise
            # Another run noted the same data set at the same moment; now it is there.
            self.client.log_inputs(self._id, inputs)

    def _file(self, content: dict[str, Any]) -> None:
        path = self.folder / content["path"]
        if path.exists():  # a later entry may have replaced and removed it
            self.client.log_artifact(self._id, str(path), content["folder"] or None)

    def _image(self, content: dict[str, Any], in_doubt: bool) -> None:
        from PIL import Image

        path = self.folder / content["path"]
        if path.exists():  # else it has arrived
            key, step, time = content["key"], content["step"], content["time"]
            with Image.open(path) as image:
                if name := self._name_of_image(key, step, time) if in_doubt else None:
                    self._replace_image(image, name)
                else:
                    self.client.log_image(self._id, image, key=key, step=step, timestamp=time)
            path.unlink()

    def _name_of_image(self, key: str, step: int, time: int) -> str | None:
        """How MLflow calls an image of which at least the first of two files has arrived, perhaps in part."""
        begin = f"images/{key.replace('/', '~')}+step+{step}+timestamp+{time}+"
        for file in self.client.list_artifacts(self._id, "images"):
            if file.path.startswith(begin) and file.path.endswith(".png"):
                return Path(file.path).stem
        return None

    def _replace_image(self, image: "Image", name: str) -> None:
        """Put both files of an image there again, as `MlflowClient.log_image` does under a new name."""
        with TemporaryDirectory() as folder:
            files = [Path(folder, f"{name}.png"), Path(folder, f"{name}+compressed.webp")]
            image.save(files[0])
            image.thumbnail((PREVIEW, PREVIEW))
            image.save(files[1])
            for file in files:
                self.client.log_artifact(self._id, str(file), "images")
        self.client.set_tag(self._id, "mlflow.loggedImages", "True")

    def _status(self, content: dict[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self.client.update_run(self._id, status="RUNNING")
        else:
            self.client.set_terminated(self._id, content["status"], content["time"])
