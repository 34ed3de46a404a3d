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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sbp.errors import UserError
from sbp.utils.files import file_lock, is_held, write_atomically
from sbp.utils.progress import IN_SWEEP, Progress, ProgressLine, on_terminal


class JobProgress(Progress):
    """Tells the sweep, in its folder, how far this job is; a lock there says that the job's process lives. A
    job whose run is taken over from an earlier sweep never begins, and is not counted.

    label: what the run is called, None for a run without a name. overrides: the job's, each KEY=VALUE.
    """

    def __init__(
        self, folder: str | Path, label: str | None, overrides: Sequence[str] = (), interval_s: float = 0.5
    ):
        self.path = Path(folder) / f"{time.time_ns():020}-{uuid.uuid4().hex}.json"
        self.about = {"label": label, "overrides": list(overrides)}
        self.interval_s, self.written, self.used = interval_s, float("-inf"), 0.0
        self.alive, self.begun = contextlib.ExitStack(), False

    def begin(self) -> None:
        if not self.begun:
            self.begun = True
            with contextlib.suppress(OSError):
                self.alive.enter_context(file_lock(self.path.with_suffix(".lock")))
            self._write("running")

    def advance(self, images: float, used: float | None = None) -> None:
        self.used = self.used if used is None else used
        if self.begun and time.monotonic() - self.written > self.interval_s:
            self._write("running")

    def close(self) -> None:
        self._end("done")

    def failed(self) -> None:
        self.begun = True  # also one that broke before it could begin is over
        self._end("failed")

    def _end(self, state: str) -> None:
        if self.begun:
            self._write(state)
        self.alive.close()

    def _write(self, state: str) -> None:
        self.written = time.monotonic()
        entry = {**self.about, "used": self.used, "state": state}
        with contextlib.suppress(OSError, UserError):  # the sweep is gone: nobody looks any more
            write_atomically(self.path, json.dumps(entry), durable=False)


@dataclass(frozen=True)
class State:
    """done: jobs that ended, failed: those among them without a result; running: name and used share of each
    job under way."""

    done: int
    failed: int
    running: list[tuple[str, float]]

    def share(self, total: int) -> float:
        """Jobs done of `total`, those under way by their share."""
        return min(1.0, (self.done + sum(used for _, used in self.running)) / total)

    def counts(self, total: int) -> str:
        """How many jobs are over, and how many of them failed."""
        return f"{self.done}/{total} jobs" + (f", {self.failed} failed" if self.failed else "")

    def activity(self) -> str:
        """What is running."""
        return "running: " + (", ".join(f"{name} {used:.0%}" for name, used in self.running) or "none")


def differing(jobs: Iterable[Sequence[str]]) -> set[str]:
    """The keys whose values tell jobs apart. jobs: the overrides of each, KEY=VALUE."""
    values = [dict(_split(override) for override in overrides) for overrides in jobs]
    keys = {key for job in values for key in job}
    return {key for key in keys if len({job.get(key) for job in values}) > 1}


def job_name(label: str | None, overrides: Sequence[str], keys: Collection[str]) -> str:
    """What tells a job from the others: its label, which stands for its arm, and its values of `keys`."""
    told = {"label", "arm", "experiment"} if label else set()
    parts = [o.lstrip("+") for o in overrides if (key := _split(o)[0]) in keys and key not in told]
    return " ".join([*([label] if label else []), *parts]) or "job"


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+").partition("=")
    return key, value


def read_state(folder: Path, keys: Collection[str] = ()) -> State:
    """What the jobs' files say; jobs whose process is gone count as failed. keys: those that tell them
    apart."""
    done, failed, running = 0, 0, []
    for path in sorted(folder.glob("*.json")):  # in the order of their start
        try:
            entry = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if entry["state"] == "running" and is_held(folder, f"{path.stem}.lock"):
            running.append((job_name(entry["label"], entry["overrides"], keys), float(entry["used"])))
        else:
            done += 1
            failed += entry["state"] != "done"
    return State(done, failed, running)


@contextlib.contextmanager
def sweep_progress(total: int, keys: Collection[str] = (), interval_s: float = 30.0) -> Iterator[None]:
    """Show the progress of `total` jobs while the block runs: a bar, or a line every `interval_s` seconds.
    keys: those whose values tell the jobs apart, see `differing`.

    Jobs find the folder through an environment variable, so this must be entered before they are started.
    Inside another sweep's progress nothing new is shown: the outer one covers the whole grid.
    """
    if IN_SWEEP in os.environ or total == 0:
        yield
        return
    folder = tempfile.mkdtemp(prefix="sbp-progress-")
    os.environ[IN_SWEEP] = folder
    stop = threading.Event()
    drawer = threading.Thread(
        target=_show, args=(Path(folder), total, keys, stop.wait, interval_s), daemon=True
    )
    drawer.start()
    try:
        yield
    finally:
        stop.set()
        drawer.join(timeout=5)
        os.environ.pop(IN_SWEEP, None)
        shutil.rmtree(folder, ignore_errors=True)


def _show(
    folder: Path, total: int, keys: Collection[str], wait: Callable[[float], bool], interval_s: float
) -> None:
    write = partial(print, file=sys.stderr, flush=True)
    line = ProgressLine(interval_s, write, keep=False, terminal=on_terminal())
    line.shown_at = line.now()
    while not wait(0.5):
        state = read_state(folder, keys)
        line.show(state.share(total), state.counts(total), state.activity())
    line.close()
