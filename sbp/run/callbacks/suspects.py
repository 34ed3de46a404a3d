"""The images, or selected tiles, whose annotation the guard suspects at the end: a list to look through."""

import csv
from pathlib import Path

import numpy as np

from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.trainer import Trainer
from sbp.tracking.tracker import Tracker

SUSPECTS = "suspects.csv"


class SuspectList(Callback):
    """Leaves suspects.csv, the highest score first: image or tile, the defects that its annotation holds, its
    last score in nats and how often it was drawn. No file for a run without a guard."""

    def __init__(self, folder: Path, tracker: Tracker):
        self.path, self.tracker = folder / SUSPECTS, tracker

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        sampler, units, defects = trainer.sampler, trainer.units, trainer.data.defects
        suspects = sampler.suspects()
        if suspects is None:
            return
        scores = sampler.book.image_scores(sampler.focus)
        listed = np.flatnonzero(suspects)
        with self.path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "annotated", "score", "times_selected"])
            for i in listed[np.argsort(-scores[listed], kind="stable")]:
                held = [name for name, held in zip(defects, units.labels[i], strict=True) if held]
                drawn, name = sampler.book.times_selected[i], units.name(trainer.data.train, i)
                rows.writerow([name, " ".join(held), f"{scores[i]:.4g}", drawn])
        self.tracker.log_file(self.path)
