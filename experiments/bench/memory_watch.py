"""Peak anonymous memory of this process: what it allocated, without mapped files."""

import threading
from pathlib import Path


def anonymous_mib() -> float:
    """Current anonymous resident memory in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no RssAnon; this measurement needs Linux")


class PeakMemory:
    """Samples anonymous memory in a thread; `peak_mib` is the largest value seen inside the block."""

    def __init__(self, interval_s: float = 0.005):
        self.interval_s, self.peak_mib = interval_s, 0.0
        self._stop = threading.Event()

    def __enter__(self) -> "PeakMemory":
        self.before_mib = anonymous_mib()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(self.interval_s):
            self.peak_mib = max(self.peak_mib, anonymous_mib())

    def __exit__(self, *error) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_mib = max(self.peak_mib, anonymous_mib())
