"""Histograms of the scores: a picture per epoch that scored images; counts and ridge plots at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.trainer import Trainer
from sbp.metrics import LossHistogram, quantiles
from sbp.plots.histogram_figure import EpochHistogramPainter, ridge_figure
from sbp.plots.style import save_png
from sbp.tracking.tracker import Tracker


class HistogramRecorder(Callback):
    """Counts scores by scheme, epoch, defect and group, and adds their quantiles to the epoch's metrics.

    images: whether the tracker gets a picture of each epoch.
    """

    def __init__(
        self, defects: Sequence[str], schemes: Sequence[str], folder: Path, tracker: Tracker, images: bool
    ):
        self.histogram = LossHistogram(defects, schemes)
        self.folder, self.tracker, self.images = folder, tracker, images
        self.painter: EpochHistogramPainter | None = None

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        if record.scores is None:
            return
        scores = dict(zip(self.histogram.schemes, record.scores, strict=True))
        self.add(trainer, record, scores, trainer.units.labels)

    def add(
        self, trainer: Trainer, record: EpochRecord, scores: dict[str, np.ndarray], labels: np.ndarray
    ) -> None:
        """Count an epoch's scores, by scheme (N, D), of images with labels (N, D)."""
        counts = self.histogram.add(record.epoch, scores, labels)
        if self.images and record.epoch > self.tracker.last_step:
            if self.painter is None:
                defects, schemes = self.histogram.defects, self.histogram.schemes
                self.painter = EpochHistogramPainter(self.histogram.edges, defects, schemes)
            self.tracker.log_image("loss_hist", self.painter.paint(counts, record.epoch), record.epoch)
        record.metrics.update(quantiles(scores, labels, self.histogram.defects))

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        if not self.histogram.epochs:
            return
        path = self.folder / "loss_histograms.npz"
        self.histogram.save(path)
        self.tracker.log_file(path, "histograms")
        for scheme, counts in self.histogram.counts.items():
            figure = ridge_figure(
                self.histogram.epochs, counts, self.histogram.edges, self.histogram.defects, scheme
            )
            path = self.folder / f"ridge_{scheme}.png"
            save_png(figure, path)
            self.tracker.log_file(path, "figures")

    def state_dict(self) -> dict[str, Any]:
        counts = {scheme: torch.from_numpy(counts) for scheme, counts in self.histogram.counts.items()}
        return {"epochs": list(self.histogram.epochs), "counts": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        counts = {scheme: counts.numpy() for scheme, counts in state["counts"].items()}
        self.histogram.extend(state["epochs"], counts)


class ClassHistogramRecorder(HistogramRecorder):
    """The same for images that are each of one class: one channel, `all`, of the loss of every image, and for
    up to MOST classes the quantiles of the images of each."""

    ALL, MOST = "all", 20

    def __init__(
        self, classes: Sequence[str], schemes: Sequence[str], folder: Path, tracker: Tracker, images: bool
    ):
        super().__init__([self.ALL], schemes, folder, tracker, images)
        self.classes = list(classes)

    def add(
        self, trainer: Trainer, record: EpochRecord, scores: dict[str, np.ndarray], labels: np.ndarray
    ) -> None:
        losses = {scheme: values.max(axis=1, keepdims=True) for scheme, values in scores.items()}
        super().add(trainer, record, losses, np.ones((len(labels), 1), dtype=bool))
        for k, name in enumerate(self.classes if len(self.classes) <= self.MOST else ()):
            record.metrics.update(quantiles(losses, labels[:, k : k + 1], [name], healthy=False))
