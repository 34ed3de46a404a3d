"""The progress of a sweep or grid, whose jobs may run in other processes.

Each job keeps a small file in the sweep's folder up to date; the process that started them draws.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sbp.errors import UserError
from sbp.utils.files import file_lock, is_held, write_atomically
from sbp.utils.progress import IN_SWEEP, Progress, ProgressLine, on_terminal


class JobProgress(Progress):
    """Tells the sweep, in its folder, how far this job is; a lock there says that the job's process lives. A
    job whose run is taken over from an earlier sweep never begins, and is not counted."""

    def __init__(self, folder: str | Path, name: str, interval_s: float = 0.5):
        self.path = Path(folder) / f"{uuid.uuid4().hex}.json"
        self.name, self.interval_s, self.written, self.used = name, interval_s, float("-inf"), 0.0
        self.alive, self.begun = contextlib.ExitStack(), False

    def stage(self, epoch: int, name: str, images: int, kept: float | None = None) -> None:
        self._begin()

    def advance(self, images: float, used: float | None = None) -> None:
        self._begin()
        self.used = self.used if used is None else used
        if time.monotonic() - self.written > self.interval_s:
            self._write("running")

    def close(self) -> None:
        if self.begun:
            self._write("done")
        self.alive.close()

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            with contextlib.suppress(OSError):
                self.alive.enter_context(file_lock(self.path.with_suffix(".lock")))
            self._write("running")

    def _write(self, state: str) -> None:
        self.written = time.monotonic()
        entry = {"name": self.name, "used": self.used, "state": state}
        with contextlib.suppress(OSError, UserError):  # the sweep is gone: nobody looks any more
            write_atomically(self.path, json.dumps(entry), durable=False)


@dataclass(frozen=True)
class State:
    """done: jobs that ended; running: name and used share of each job under way."""

    done: int
    running: list[tuple[str, float]]

    def share(self, total: int) -> float:
        """Jobs done of `total`, those under way by their share."""
        return min(1.0, (self.done + sum(used for _, used in self.running)) / total)

    def activity(self) -> str:
        """What is running."""
        return "running: " + (", ".join(f"{name} {used:.0%}" for name, used in self.running) or "none")


def read_state(folder: Path) -> State:
    """What the jobs' files say; jobs whose process is gone count as ended."""
    done, running = 0, []
    for path in sorted(folder.glob("*.json")):
        try:
            entry = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if entry["state"] == "done" or not is_held(folder, f"{path.stem}.lock"):
            done += 1
        else:
            running.append((entry["name"], float(entry["used"])))
    return State(done, running)


@contextlib.contextmanager
def sweep_progress(total: int, interval_s: float = 30.0) -> Iterator[None]:
    """Show the progress of `total` jobs while the block runs: a bar, or a line every `interval_s` seconds.

    Jobs find the folder through an environment variable, so this must be entered before they are started.
    Inside another sweep's progress nothing new is shown: the outer one covers the whole grid.
    """
    if IN_SWEEP in os.environ or total == 0:
        yield
        return
    folder = tempfile.mkdtemp(prefix="sbp-progress-")
    os.environ[IN_SWEEP] = folder
    stop = threading.Event()
    drawer = threading.Thread(target=_show, args=(Path(folder), total, stop.wait, interval_s), daemon=True)
    drawer.start()
    try:
        yield
    finally:
        stop.set()
        drawer.join(timeout=5)
        os.environ.pop(IN_SWEEP, None)
        shutil.rmtree(folder, ignore_errors=True)


def _show(folder: Path, total: int, wait: Callable[[float], bool], interval_s: float) -> None:
    write = partial(print, file=sys.stderr, flush=True)
    line = ProgressLine(interval_s, write, keep=False, terminal=on_terminal())
    line.shown_at = line.now()
    while not wait(0.5):
        state = read_state(folder)
        line.show(state.share(total), f"{state.done}/{total} jobs", state.activity())
    line.close()
