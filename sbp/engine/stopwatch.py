"""Where the seconds of an epoch go."""

import contextlib
import time
from collections.abc import Callable, Iterator

from sbp.metrics import names


class Stopwatch:
    """Adds up seconds per section. synchronize: called before each clock is read (accelerator queues).
    seconds: those so far."""

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

    def metrics(self) -> dict[str, float]:
        """Seconds of each section, and of all."""
        sections = {names.seconds(name): seconds for name, seconds in self.seconds.items()}
        return sections | {names.EPOCH_S: sum(self.seconds.values())}
