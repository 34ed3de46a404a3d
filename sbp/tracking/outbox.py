"""What a run has to say to the tracker: a log in its own folder, written before anything is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sbp.utils.jsonlines import Entry, JsonLines

NAME = "tracking.jsonl"
COMMIT = {"kind": "commit"}


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
