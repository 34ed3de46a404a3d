"""The tracker of a run: everything goes to its outbox first, at the price of a file write."""

import math
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sbp.tracking.outbox import Outbox
from sbp.tracking.tracker import Tracker
from sbp.utils.files import disk_full_as_user_error

PARAM_CHARACTERS = 6000


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow dates things."""
    return int(time.time() * 1000)


class OutboxTracker(Tracker):
    """Writes entries, to be sent by somebody else; see Tracker."""

    def __init__(self, outbox: Outbox):
        self.outbox = outbox
        self.folder = outbox.path.parent
        self.on_commit: Callable[[int], None] = lambda size: None

    @property
    def last_step(self) -> int:
        """The last step with committed metrics; -1 if there is none."""
        return self.outbox.last_step

    def commit(self) -> None:
        """What was logged so far is final, and on its way."""
        self.outbox.commit()
        self.on_commit(self.outbox.committed)

    def begin(self, experiment: str, location: str | None, name: str, tags: Mapping[str, Any]) -> None:
        """The first entry. location: of the artifacts, should the experiment be new."""
        texts = {key: str(value) for key, value in tags.items()} | {"journal": uuid.uuid4().hex}
        self.outbox.add("run", experiment=experiment, location=location, name=name, tags=texts, time=now_ms())

    def log_params(self, params: Mapping[str, Any]) -> None:
        """The run's parameters, by which the UI groups and compares."""
        self.outbox.add(
            "params", values={key: str(value)[:PARAM_CHARACTERS] for key, value in params.items()}
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """NaN and infinities are left out, as the UI's axes cannot show them."""
        finite = {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
        self.outbox.add("metrics", values=finite, step=step, time=now_ms())

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        """An image (h, w, 3) uint8 of a series that the UI can step through; a file until it is sent."""
        path = self.folder / f"unsent-{key.replace('/', '~')}-{step:05}.png"
        content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        with disk_full_as_user_error(path):
            path.write_bytes(content)
        self.outbox.add("image", key=key, path=self._relative(path), step=step, time=now_ms())

    def log_file(self, path: Path, folder: str = "") -> None:
        """A file, as it is when it is sent."""
        self.outbox.add("file", path=self._relative(path), folder=folder)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Facts about the run that are no parameters."""
        self.outbox.add("tags", values={key: str(value) for key, value in tags.items()})

    def log_data(self, name: str, digest: str, path: Path, counts: Mapping[str, int]) -> None:
        """Say which data set the run used, in MLflow's own data set column. counts: images by split."""
        profile = {f"{split}_images": count for split, count in counts.items()}
        self.outbox.add("data", name=name, digest=digest, path=str(path), profile=profile)

    def status(self, status: str) -> None:
        """RUNNING again, or ended as FINISHED, FAILED or KILLED."""
        self.outbox.add("status", status=status, time=now_ms())

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)
