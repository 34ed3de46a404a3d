"""What a person sees while something takes long: a bar on a terminal, a line now and then elsewhere."""

import bisect
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

IN_SWEEP = "SBP_PROGRESS"
"""Environment variable that is set while a sweep has a bar: its jobs draw none of their own."""
BAR_WIDTH = 24

log = logging.getLogger("sbp")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss; -:-- if not known."""
    if not math.isfinite(seconds):
        return "-:--"
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


class TimeLeft:
    """Estimates the time that is left, once that means something.

    The speed is that of the later half of what was done so far: a slow beginning (imports, a first scoring
    pass) is forgotten. Nothing is estimated before MIN_SHARE of the work is done, seen at MIN_POINTS moments
    of that half, and until both quarters of it took about as long.
    """

    MIN_SHARE, MIN_POINTS, EVEN, STEP = 0.05, 4, 2.0, 0.001

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.times: list[float] = []
        self.known = False

    def update(self, share: float, now: float) -> None:
        """`share` of the work, in [0, 1], is done at `now` seconds."""
        if not self.shares or share >= self.shares[-1] + self.STEP:
            self.shares.append(share)
            self.times.append(now)

    def seconds(self) -> float | None:
        """The estimate; None if there is none yet."""
        if not self.shares or self.shares[-1] <= self.shares[0]:
            return None
        first, last = self.shares[0], self.shares[-1]
        half, three_quarters = (first + part * (last - first) for part in (0.5, 0.75))
        third, fourth = self._between(half, three_quarters), self._between(three_quarters, last)
        self.known = self.known or (
            last - first >= self.MIN_SHARE * (1 - first)
            and len(self.shares) - bisect.bisect_left(self.shares, half) >= self.MIN_POINTS
            and max(third, fourth) <= self.EVEN * min(third, fourth)
        )
        return (third + fourth) / (last - half) * (1 - last) if self.known else None

    def _between(self, start: float, stop: float) -> float:
        """Seconds from one share to another."""
        return self._time_at(stop) - self._time_at(start)

    def _time_at(self, share: float) -> float:
        after = max(1, bisect.bisect_left(self.shares, share))
        (s0, s1), (t0, t1) = self.shares[after - 1 : after + 1], self.times[after - 1 : after + 1]
        return t0 + (share - s0) / (s1 - s0) * (t1 - t0)


def on_terminal() -> bool:
    """Whether somebody looks at stderr and a bar can be drawn there."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class ProgressLine:
    """A share of work in one line: redrawn on a terminal, elsewhere written every interval_s seconds at most.

    write: takes the line where nobody looks. keep: on a terminal, the last line stays. now: the clock.
    """

    def __init__(
        self,
        interval_s: float,
        write: Callable[[str], Any] = log.info,
        keep: bool = True,
        terminal: bool | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.terminal = on_terminal() and IN_SWEEP not in os.environ if terminal is None else terminal
        self.interval_s = 0.1 if self.terminal else interval_s
        self.write, self.keep, self.now = write, keep, now
        self.left, self.shown_at, self.text = TimeLeft(), -math.inf, ""
        self.bar: Any = None

    def update(self, share: float) -> None:
        """`share` of the work, in [0, 1], is done; nothing is shown."""
        self.left.update(share, self.now())

    def show(self, share: float, text: str, activity: str = "", at_once: bool = False) -> None:
        """The same, and show it with `text`, unless a line was just shown. activity: what is under way."""
        self.update(share)
        if self.now() - self.shown_at < self.interval_s and not at_once:
            return
        self.shown_at = self.now()
        left = self.left.seconds()
        parts = (text, "" if left is None else f"{clock(left)} left", activity)
        text = " | ".join(part for part in parts if part)
        if self.terminal:
            self._draw(share, text)
        elif text != self.text:
            self.write(f"{100 * share:3.0f} % | {text}")
        self.text = text

    def say(self, text: str) -> None:
        """Write a line of output to stdout, above the bar if both are on the terminal."""
        if self.bar is not None and sys.stdout.isatty():
            self.bar.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """The work is over."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, share: float, text: str) -> None:
        if self.bar is None:
            self.bar = _bar(self.keep)
        self.bar.update(self.bar.task_ids[0], completed=share, description=text, refresh=True)


def _bar(keep: bool) -> Any:
    """A bar of `rich` with one task; no thread of its own redraws it, as loader processes are forked."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    class VisibleCursor(Console):
        """Leaves the cursor alone: a process that is killed could not bring it back."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    bar = Progress(
        BarColumn(BAR_WIDTH, table_column=Column(width=BAR_WIDTH)),
        TextColumn("{task.percentage:3.0f} %", table_column=Column(width=5)),
        TextColumn("{task.description}", markup=False, table_column=rest),
        console=VisibleCursor(stderr=True),
        auto_refresh=False,
        expand=True,
        transient=not keep,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("", total=1.0)
    bar.start()
    return bar


class CountProgress:
    """Shows how many of some items are done: progress(done, total). what: what is done to them, as in
    "preparing parts"; items: what they are."""

    def __init__(self, what: str, items: str = "images", interval_s: float = 5.0, **line: Any):
        self.what, self.items = what, items
        self.line = ProgressLine(interval_s, **line)
        if not self.line.terminal:
            self.line.shown_at = self.line.now()  # what takes less than the interval is not worth a line

    def __call__(self, done: int, total: int) -> None:
        text = f"{self.what}: {done} of {total} {self.items}"
        self.line.show(done / total, text, at_once=self.line.terminal and done == total)
        if done == total:
            self.line.close()


class Progress:
    """What a training run tells about its progress; this one shows nothing."""

    def begin(self) -> None:
        """The run starts: it is not taken over from an earlier one."""

    def stage(self, epoch: int, name: str, images: int) -> None:
        """A pass over `images` begins."""

    def advance(self, images: float, used: float | None = None) -> None:
        """`images` more are done; `used` is the share of the budget."""

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch ended with these metrics."""

    def close(self) -> None:
        """The run is over."""

    def failed(self) -> None:
        """The run is over, without a result."""
        self.close()


class RunProgress(Progress):
    """Shows a run: the share of its budget, the last epoch's numbers, the time left."""

    NUMBERS = (
        ("train/loss", "loss {:.4f}"),
        ("train/kept_fraction", "kept {:.0%}"),
        ("val/map", "mAP {:.3f}"),
        ("val/accuracy", "accuracy {:.3f}"),
    )

    def __init__(self, interval_s: float = 10.0, **line: Any):
        self.line = ProgressLine(interval_s, **line)
        self.used = 0.0
        self.last: dict[str, float] = {}

    def stage(self, epoch: int, name: str, images: int) -> None:
        self.epoch, self.name, self.images = epoch, name, images
        self.done, self.started = 0.0, self.line.now()

    def advance(self, images: float, used: float | None = None) -> None:
        self.done += images
        self.used = self.used if used is None else used
        if not self.line.terminal:
            self.line.update(self.used)
            return
        rate = self.done / max(self.line.now() - self.started, 1e-9)
        activity = f"{self.name} {self.done:.0f}/{self.images}, {rate:.0f} images/s"
        self.line.show(self.used, self._numbers(self.epoch), activity)

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        self.last = self.last | metrics
        self.line.show(self.used, self._numbers(epoch), at_once=self.line.terminal or self.used >= 1)

    def close(self) -> None:
        self.line.close()

    def _numbers(self, epoch: int) -> str:
        parts = [f"epoch {epoch + 1}"]
        parts += [form.format(self.last[key]) for key, form in self.NUMBERS if key in self.last]
        work = self.last.get("time/training_s", 0) + self.last.get("time/data_s", 0)
        if work > 0:
            parts.append(f"{self.last['train/images'] / work:.0f} images/s")
        return ", ".join(parts)
