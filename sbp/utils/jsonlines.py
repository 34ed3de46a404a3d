"""Logs of a run: a JSON object a line, appended one by one, whole again after the process was killed.

How a log recovers. Lines are written in groups, such as all that an epoch has to say, and a group is
*committed* once its last line is in the file (`commits` says which line that is). Whatever comes after the
last commit, half a line or the lines of an epoch that was broken off, does not count: readers stop before it,
and `rollback` takes it away before the run writes on. A resumed run does that epoch again and logs it. A
run's state is saved after its logs are committed, so that it may be older than they are, never newer: epochs
that are done again although they were committed, those up to `last_step`, are not logged twice.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sbp.errors import UserError
from sbp.utils.files import disk_full_as_user_error


@dataclass(frozen=True)
class Entry:
    """One line, and the byte where the next one begins."""

    content: dict[str, Any]
    end: int


class JsonLines:
    """A log at `path`, which need not be there yet. Subclasses may say what commits, and a line's epoch.

    key: what each line must have. if_damaged: what to do about a line that is no such object, for the error.
    """

    def __init__(self, path: Path, key: str, if_damaged: str = "move it away"):
        self.path, self.key, self.if_damaged = path, key, if_damaged
        self._committed: int | None = None

    def commits(self, content: dict[str, Any]) -> bool:
        """Whether everything up to this line is final; here, whatever line it is."""
        return True

    def step(self, content: dict[str, Any]) -> int:
        """The epoch that a line tells of, -1 if of none."""
        return content.get("epoch", -1)

    @cached_property
    def last_step(self) -> int:
        """The last epoch that was committed when this was first asked for; -1 if there is none."""
        return max((self.step(entry.content) for entry in self.read()), default=-1)

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def committed(self) -> int:
        """Where the last committed group ends, in bytes. Raises UserError at a damaged line."""
        if self._committed is None:
            ends = (entry.end for entry in self._whole_lines(0) if self.commits(entry.content))
            self._committed = max(ends, default=0)
        return self._committed

    def append(self, content: dict[str, Any]) -> None:
        """Add a line, and bring the file to the disk if that commits it. Raises UserError where the disk is
        full; the file then ends with a whole line."""
        line, commits = json.dumps(content).encode() + b"\n", self.commits(content)
        with disk_full_as_user_error(self.path), open(self.path, "ab") as file:
            start = file.tell()
            try:
                file.write(line)
                file.flush()
                if commits:
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, start)  # no half line for a later one to be glued to
                raise
        if commits:
            self._committed = start + len(line)

    def rollback(self) -> None:
        """Take away what came after the last commit."""
        if self.path.exists():
            os.truncate(self.path, self.committed)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries between two positions, by default all committed. Raises UserError at a damaged line."""
        stop = self.committed if stop is None else stop
        for entry in self._whole_lines(start):
            if entry.end > stop:
                return
            yield entry

    def _whole_lines(self, start: int) -> Iterator[Entry]:
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                if not line.endswith(b"\n"):
                    return
                yield Entry(self._content(line, start), start)

    def _content(self, line: bytes, end: int) -> dict[str, Any]:
        try:
            content = json.loads(line)
            content[self.key]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.path}: damaged before byte {end}; {self.if_damaged}") from None
        return content
