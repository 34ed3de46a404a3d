"""What a run has to say to MLflow: a log in its own folder, written before anything is sent."""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sbp.tracking.tracker import Tracker
from sbp.utils.files import disk_full_as_user_error
from sbp.utils.jsonlines import Entry, JsonLines

NAME = "tracking.jsonl"
COMMIT = {"kind": "commit"}
PARAM_CHARACTERS = 6000


class Outbox(JsonLines):
    """A run's entries of some kind: run, params, data, tags, metrics, image, file, status. Those that are
    committed may be sent. How a run that was broken off resumes its log: see sbp.utils.jsonlines."""

    def __init__(self, folder: Path):
        super().__init__(
            folder / NAME,
            "kind",
            "move it away, and the run is recorded as a new one in MLflow (epochs.jsonl has every epoch)",
        )

    def commits(self, content: dict[str, Any]) -> bool:
        return content == COMMIT

    def step(self, content: dict[str, Any]) -> int:
        return content["step"] if content["kind"] == "metrics" else -1

    def add(self, kind: str, **content: Any) -> None:
        """Append an entry, which waits for the next `commit`. Raises UserError where the disk is full."""
        self.append({"kind": kind, **content})

    def commit(self) -> None:
        """Make everything so far final."""
        self.append(COMMIT)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """What there is to send between two positions; by default everything that is committed."""
        return (entry for entry in self.read(start, stop) if entry.content != COMMIT)

    @property
    def status(self) -> str | None:
        """The last one that was committed: RUNNING, FINISHED, FAILED, KILLED; None if there is none."""
        statuses = [e.content["status"] for e in self.entries() if e.content["kind"] == "status"]
        return statuses[-1] if statuses else None


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
        return self.outbox.last_step

    def commit(self) -> None:
        self.outbox.commit()
        self.on_commit(self.outbox.committed)

    def begin(self, experiment: str, location: str | None, name: str, tags: Mapping[str, Any]) -> None:
        """The first entry. location: of the artifacts, should the experiment be new."""
        texts = {key: str(value) for key, value in tags.items()} | {"journal": uuid.uuid4().hex}
        self.outbox.add("run", experiment=experiment, location=location, name=name, tags=texts, time=now_ms())

    def log_params(self, params: Mapping[str, Any]) -> None:
        texts = {key: str(value)[:PARAM_CHARACTERS] for key, value in params.items()}
        self.outbox.add("params", values=texts)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        # the UI's axes cannot show NaN and infinities
        finite = {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
        self.outbox.add("metrics", values=finite, step=step, time=now_ms())

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        path = self.folder / f"unsent-{key.replace('/', '~')}-{step:05}.png"
        content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        with disk_full_as_user_error(path):
            path.write_bytes(content)
        self.outbox.add("image", key=key, path=self._relative(path), step=step, time=now_ms())

    def log_file(self, path: Path, folder: str = "") -> None:
        self.outbox.add("file", path=self._relative(path), folder=folder)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
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
