"""The training images, or selected tiles, of the highest loss at the end: a gallery of them, and where their
loss peaks."""

from pathlib import Path

import numpy as np

from sbp.data.dataset import Split
from sbp.data.units import SelectionUnits
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.scoring import LossMaps
from sbp.engine.trainer import Trainer
from sbp.metrics import names
from sbp.metrics.top_losses import top_loss_shares
from sbp.plots.gallery import GalleryEntry, gallery_figure
from sbp.plots.style import save_png
from sbp.tracking.tracker import Tracker

TOP_SHARE = 0.05
"""Share of the training images or tiles that counts as the highest."""


class TopLosses(Callback):
    """Draws the `shown` highest-scored images or tiles, under the selection's own scheme, and adds the shares
    of the top ones by where their loss is highest."""

    def __init__(self, folder: Path, tracker: Tracker, shown: int):
        self.folder, self.tracker, self.shown = folder, tracker, shown

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        scores, split, units = self._scores(trainer), trainer.data.train, trainer.units
        order = np.argsort(-scores, kind="stable")
        top = order[: max(1, round(TOP_SHARE * len(order)))]
        maps = trainer.scorer.loss_maps(split, order[: max(len(top), self.shown)])
        if self.shown:
            entries = gallery_entries(split, units, order[: self.shown], maps, scores)
            path = self.folder / "gallery.png"
            save_png(gallery_figure(entries, trainer.data.defects), path)
            self.tracker.log_file(path, "figures")
        clean = None if split.clean_masks is None else units.stacked(split.clean_masks, top)
        shares = top_loss_shares(maps.losses[: len(top)], units.stacked(split.masks, top) == 1, clean)
        together = shares["top/border"] + shares["top/missing"]
        record.metrics.update(shares | {names.BORDER_OR_MISSING: together})

    def _scores(self, trainer: Trainer) -> np.ndarray:
        """(N,) the scores of the training images or tiles, the largest over all defects."""
        book, split = trainer.sampler.book, trainer.data.train
        if book.never_scored.any():  # policies without scores: score once, at the end
            everything = np.arange(len(split))
            return trainer.scorer.score(split, everything, trainer.epoch)[0].max(axis=1)
        return book.defect_scores().max(axis=1)


def gallery_entries(
    split: Split, units: SelectionUnits, top: np.ndarray, maps: LossMaps, scores: np.ndarray
) -> list[GalleryEntry]:
    """What the gallery shows of the units `top` (n,). maps: of these; scores: (N,) of all."""
    entries = []
    for n, unit in enumerate(top.tolist()):
        image = unit // units.per_image
        clean = None if split.clean_masks is None else np.array(units.cut(split.clean_masks[image], unit))
        entries.append(
            GalleryEntry(
                image=np.array(units.cut(split.images[image], unit)),
                annotation=np.array(units.cut(split.masks[image], unit)),
                prediction=maps.probabilities[n].transpose(1, 2, 0),
                loss_map=maps.losses[n].transpose(1, 2, 0),
                score=float(scores[unit]),
                name=units.name(split, unit),
                note=split.kinds[image],
                clean=clean,
            )
        )
    return entries
