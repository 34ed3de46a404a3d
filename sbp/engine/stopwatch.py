"""Where the seconds of an epoch go."""

import contextlib
import time
from collections.abc import Callable, Iterator


class Stopwatch:
    """Adds up seconds per section. synchronize: called before each clock is read (accelerator queues).
    seconds: what to go on from."""

    SECTIONS = ("scoring", "monitoring", "data", "training", "validation")

    def __init__(
        self, synchronize: Callable[[], None] = lambda: None, seconds: dict[str, float] | None = None
    ):
        self.synchronize = synchronize
        self.seconds = dict.fromkeys(self.SECTIONS, 0.0) if seconds is None else seconds

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count the time of the block towards `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            # waiting for data must not wait for the step before it, or nothing would overlap
            if name != "data":
                self.synchronize()
            self.seconds[name] += time.perf_counter() - started

    @property
    def total(self) -> float:
        """Seconds of all sections."""
        return sum(self.seconds.values())
