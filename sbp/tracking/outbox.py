"""A run's own record of what it told the tracker: an append-only file, written before anything is sent."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbp.errors import UserError
from sbp.utils.files import disk_full_as_user_error

NAME = "tracking.jsonl"
COMMIT = {"kind": "commit"}


@dataclass(frozen=True)
class Entry:
    """One line: what to send, and where the next line begins."""

    content: dict[str, Any]
    end: int

    @property
    def kind(self) -> str:
        """run, params, data, tags, metrics, image, file, status."""
        return self.content["kind"]


class Journal:
    """Appends entries to a run's file. Those before a commit are final and may be sent; those after the last
    one are taken back by `rollback`. last_step: the last with committed metrics when the file was opened."""

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self.committed = committed_bytes(self.path)
        steps = (e.content["step"] for e in read_entries(self.path, 0, self.committed) if e.kind == "metrics")
        self.last_step = max(steps, default=-1)

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, kind: str, **content: Any) -> None:
        """Add an entry. Raises UserError where the disk is full."""
        self._write({"kind": kind, **content})

    def commit(self) -> None:
        """Make everything so far final, and bring it to the disk."""
        self._write(COMMIT, sync=True)
        self.committed = self.size

    def rollback(self) -> None:
        """Take back what came after the last commit."""
        if self.path.exists():
            os.truncate(self.path, self.committed)

    def _write(self, content: dict[str, Any], sync: bool = False) -> None:
        line = json.dumps(content) + "\n"
        with disk_full_as_user_error(self.path), open(self.path, "ab") as file:
            start = file.tell()
            try:
                file.write(line.encode())
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, start)  # no half line for a later one to be glued to
                raise


def committed_bytes(path: Path) -> int:
    """Where the last commit of a journal ends; 0 if there is none. Half a line at the end is passed over."""
    last = 0
    for entry in _lines(path, 0):
        if entry.kind == "commit":
            last = entry.end
    return last


def read_entries(path: Path, start: int, stop: int) -> Iterator[Entry]:
    """The entries between two positions, commits left out. Raises UserError at a damaged line."""
    for entry in _lines(path, start):
        if entry.end > stop:
            return
        if entry.kind != "commit":
            yield entry


def last_status(journal: Journal) -> str | None:
    """The last status that was committed: RUNNING, FINISHED, FAILED, KILLED; None if there is none."""
    status = None
    for entry in read_entries(journal.path, 0, journal.committed):
        if entry.kind == "status":
            status = entry.content["status"]
    return status


def _lines(path: Path, start: int) -> Iterator[Entry]:
    if not path.exists():
        return
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if not line.endswith(b"\n"):
                return
            yield Entry(_content(path, line, start), start)


def _content(path: Path, line: bytes, end: int) -> dict[str, Any]:
    try:
        content = json.loads(line)
        content["kind"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: damaged before byte {end}; move it away, and the run goes on as a new one in MLflow "
            "(epochs.jsonl beside it has every epoch)"
        ) from None
    return content
