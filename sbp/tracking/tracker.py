"""What a run needs from an experiment tracker, and a tracker that keeps nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Tracker(Protocol):
    """Receives what a run has to say. Steps are epochs, counted from 0.

    What was said since the last `commit` is taken back when the run breaks off.
    """

    @property
    def last_step(self) -> int:
        """The last step with committed metrics; -1 if there is none."""
        ...

    def commit(self) -> None:
        """What was said so far is final."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of one step; values that are not finite are left out."""
        ...

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        """An image (h, w, 3) uint8 of a series that the UI can step through."""
        ...

    def log_file(self, path: Path, folder: str = "") -> None:
        """A file of the run, kept under `folder`."""
        ...

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Facts about the run that are no parameters."""
        ...


class NullTracker:
    """Keeps nothing: the run's own folder has it all."""

    last_step = -1

    def commit(self) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        pass

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        pass

    def log_file(self, path: Path, folder: str = "") -> None:
        pass

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        pass
