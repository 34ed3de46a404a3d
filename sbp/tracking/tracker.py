"""What a run needs from an experiment tracker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Tracker:
    """Receives what a run logs; steps are epochs, counted from 0. What was logged since the last `commit` is
    taken back when the run is interrupted. This one keeps nothing: the run's own folder has it all."""

    @property
    def last_step(self) -> int:
        """The last step with committed metrics; -1 if there is none."""
        return -1

    def commit(self) -> None:
        """What was logged so far is final."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters, by which the UI groups and compares."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of one step; values that are not finite are left out."""

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        """An image (h, w, 3) uint8 of a series that the UI can step through."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """A file of the run, kept under `folder`."""

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Facts about the run that are no parameters."""
