"""The bar over all jobs of a sweep or grid, which may run in other processes.

Each job keeps a small file in the board's folder up to date; the process that started them draws.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sbp.utils.progress import Progress, clock

FOLDER_VARIABLE = "SBP_BOARD"
log = logging.getLogger("sbp")


class BoardReporter(Progress):
    """Tells the board how far this job is; `folder` is the board's."""

    def __init__(self, folder: str | Path, name: str, interval_s: float = 0.5):
        self.path = Path(folder) / f"{uuid.uuid4().hex}.json"
        self.name, self.interval_s, self.written, self.used = name, interval_s, float("-inf"), 0.0
        self._write("running")

    def advance(self, images: float, used: float | None = None) -> None:
        self.used = self.used if used is None else used
        if time.monotonic() - self.written > self.interval_s:
            self._write("running")

    def close(self) -> None:
        self._write("done")

    def _write(self, state: str) -> None:
        self.written = time.monotonic()
        temporary = self.path.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # the board is gone: nobody looks any more
            temporary.write_text(
                json.dumps({"name": self.name, "used": self.used, "state": state, "pid": os.getpid()})
            )
            os.replace(temporary, self.path)


@dataclass(frozen=True)
class State:
    """done: jobs that ended; running: name and used share of each job under way."""

    done: int
    running: list[tuple[str, float]]

    @property
    def jobs(self) -> float:
        """Jobs done, those under way by their share."""
        return self.done + sum(used for _, used in self.running)


def read_state(folder: Path) -> State:
    """What the jobs' files say; jobs whose process is gone count as ended."""
    done, running = 0, []
    for path in sorted(folder.glob("*.json")):
        try:
            entry = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if entry["state"] == "done" or not _alive(entry["pid"]):
            done += 1
        else:
            running.append((entry["name"], float(entry["used"])))
    return State(done, running)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def line(state: State, total: int, elapsed_s: float, width: int = 24) -> str:
    """The bar as text: share, jobs done of all, time left, what is running."""
    share = min(state.jobs / total, 1.0) if total else 1.0
    filled = round(width * share)
    left = elapsed_s * (1 - share) / share if share > 0 else float("nan")
    running = ", ".join(f"{name} {used:.0%}" for name, used in state.running) or "none"
    bar = "█" * filled + "░" * (width - filled)
    return f"{bar} {state.done}/{total} jobs, {clock(left)} left | running: {running}"


@contextlib.contextmanager
def board(total: int, interval_s: float = 30.0) -> Iterator[None]:
    """Draw the bar of `total` jobs while the block runs; a line every `interval_s` where no one looks.

    Jobs find the board through an environment variable, so it must be open before they are started. Inside
    another board nothing new is drawn: the outer one covers the whole grid.
    """
    if FOLDER_VARIABLE in os.environ or total == 0:
        yield
        return
    folder = tempfile.mkdtemp(prefix="sbp-board-")
    os.environ[FOLDER_VARIABLE] = folder
    stop = threading.Event()
    drawer = threading.Thread(target=_draw, args=(Path(folder), total, stop, interval_s), daemon=True)
    drawer.start()
    try:
        yield
    finally:
        stop.set()
        drawer.join(timeout=5)
        os.environ.pop(FOLDER_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)


def _draw(folder: Path, total: int, stop: threading.Event, interval_s: float) -> None:
    started, shown = time.monotonic(), ""
    interactive = sys.stderr.isatty()
    while not stop.wait(0.5 if interactive else interval_s):
        text = line(read_state(folder), total, time.monotonic() - started)
        if interactive:
            columns = shutil.get_terminal_size().columns
            sys.stderr.write("\r\033[K" + text[: columns - 1])
            sys.stderr.flush()
        elif text != shown:
            print(text, file=sys.stderr, flush=True)
        shown = text
    if interactive and shown:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
