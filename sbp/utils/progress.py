"""What a person sees while a run trains: a bar on a terminal, a line now and then in a log."""

import logging
import math
import sys
import time

log = logging.getLogger("sbp")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss; -:-- if not known."""
    if not math.isfinite(seconds):
        return "-:--"
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


class Progress:
    """No output; the base of the others."""

    def stage(self, epoch: int, name: str, images: int, kept: float | None = None) -> None:
        """A pass over `images` begins."""

    def advance(self, images: float, used: float | None = None) -> None:
        """`images` more are done; `used` is the share of the budget."""

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch ended with these metrics."""

    def close(self) -> None:
        """The run is over."""


class Reporter(Progress):
    """A bar that redraws itself on a terminal; elsewhere a log line at most every `interval_s` seconds."""

    def __init__(self, interval_s: float = 10.0):
        self.interactive = sys.stderr.isatty()
        self.interval_s = interval_s
        self.started = time.monotonic()
        self.drawn = self.logged = float("-inf")
        self.used = 0.0
        self.before: float | None = None  # share of the budget that was used when a run went on
        self.text = ""
        self.last: dict[str, float] = {}

    def stage(self, epoch: int, name: str, images: int, kept: float | None = None) -> None:
        self.epoch, self.name, self.images, self.kept = epoch, name, images, kept
        self.done, self.stage_started = 0.0, time.monotonic()

    def advance(self, images: float, used: float | None = None) -> None:
        self.done += images
        if used is not None and self.before is None:
            self.before = used if used > 0.05 else 0.0
        self.used = self.used if used is None else used
        now = time.monotonic()
        if self.interactive and now - self.drawn > 0.1:
            self.drawn = now
            rate = self.done / max(now - self.stage_started, 1e-9)
            self._draw(f"{self.name} {self.done:.0f}/{self.images}, {rate:.0f} images/s")

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        self.last = self.last | metrics
        now = time.monotonic()
        if self.interactive:
            self._draw("")
        elif now - self.logged > self.interval_s or self.used >= 1:
            self.logged = now
            log.info("%3.0f %% | %s | %s left", 100 * self.used, self._numbers(epoch), clock(self._left()))

    def close(self) -> None:
        if self.interactive and self.text:
            sys.stderr.write("\n")
            sys.stderr.flush()

    def _left(self) -> float:
        elapsed = time.monotonic() - self.started
        gained = self.used - (self.before or 0.0)
        return elapsed * (1 - self.used) / gained if gained > 0 else float("inf")

    def _numbers(self, epoch: int) -> str:
        parts = [f"epoch {epoch + 1}"]
        for key, label, form in (
            ("train/loss", "loss", "{:.4f}"),
            ("train/kept_fraction", "kept", "{:.0%}"),
            ("val/map", "mAP", "{:.3f}"),
        ):
            if key in self.last:
                parts.append(f"{label} {form.format(self.last[key])}")
        work = self.last.get("time/training_s", 0) + self.last.get("time/data_s", 0)
        if work > 0:
            parts.append(f"{self.last['train/images'] / work:.0f} images/s")
        return ", ".join(parts)

    def _draw(self, activity: str) -> None:
        width = 24
        filled = round(width * self.used)
        bar = "█" * filled + "░" * (width - filled)
        text = f"{bar} {self.used:4.0%} {self._numbers(self.epoch)}, {clock(self._left())} left"
        self.text = text + (f" | {activity}" if activity else "")
        sys.stderr.write("\r\033[K" + self.text)
        sys.stderr.flush()
