"""The metrics of each epoch: a line in epochs.jsonl, and a step in the tracker."""

import math
from pathlib import Path

from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.trainer import Trainer
from sbp.tracking.tracker import Tracker
from sbp.utils.jsonlines import JsonLines

EPOCHS = "epochs.jsonl"
"""A line per epoch: its number and its metrics, null where a value is not finite."""


class MetricLog(Callback):
    """Logs each epoch once, however often it is done, to the folder first; at the end, the run's metrics."""

    def __init__(self, folder: Path, tracker: Tracker):
        self.epochs, self.tracker = JsonLines(folder / EPOCHS, "epoch"), tracker

    def on_fit_start(self, trainer: Trainer) -> None:
        self.epochs.rollback()

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        if record.epoch > self.epochs.last_step:
            values = {key: value if math.isfinite(value) else None for key, value in record.metrics.items()}
            self.epochs.append({"epoch": record.epoch} | values)
        if record.epoch > self.tracker.last_step:
            self.tracker.log_metrics(record.metrics, record.epoch)
            self.tracker.commit()

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        self.tracker.log_file(self.epochs.path)
        self.tracker.log_metrics(record.metrics, record.epoch)
