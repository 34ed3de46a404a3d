"""What a run leaves behind: metrics per epoch, histograms, figures, checkpoints."""

import json
import logging
import math
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.engine.scoring import LossMaps
from sbp.engine.trainer import EpochRecord, Trainer
from sbp.errors import UserError
from sbp.metrics import LossHistogram, quantiles
from sbp.metrics.top_losses import top_loss_shares
from sbp.plots.gallery import GalleryEntry, gallery_figure
from sbp.plots.histogram_figure import EpochHistogramPainter, ridge_figure
from sbp.plots.style import save_png
from sbp.run.checkpoint import save_checkpoint
from sbp.run.state import save_state
from sbp.seeding import restore_generators
from sbp.tracking.store import masked
from sbp.tracking.tracker import Tracker
from sbp.utils.files import disk_full_as_user_error
from sbp.utils.signals import defer_signals

TOP_SHARE = 0.05
EPOCHS = "epochs.jsonl"
STATES = 3
"""Copies of model and optimizer on the disk at most, beside the two checkpoints: two states and a new one."""
SMALL_FILES = 50e6
"""Bytes for histograms, figures and tables of a run; measured: 2 to 20 MB."""

log = logging.getLogger("sbp")


class RunRecord:
    """Writes a run's results to its folder and to the tracker, epoch by epoch, and its state.

    epochs.jsonl has a line of metrics per epoch and is written first. best.pt is the model of the best
    val/map so far, last.pt that of the last epoch. state.pt, until the run has finished, is what it goes on
    from. identity: the run's fingerprint.
    """

    def __init__(self, config: Config, data: DataSet, trainer: Trainer, tracker: Tracker, identity: str):
        self.config, self.data, self.trainer, self.tracker = config, data, trainer, tracker
        self.identity, self.begun = identity, False
        self.saved_at, self.save_s = time.monotonic(), 0.0
        self.last_line = -1  # the last epoch in epochs.jsonl
        self.folder = Path(config.run_dir)
        self.histogram = LossHistogram(data.defects, trainer.scorer.schemes)
        self.painter: EpochHistogramPainter | None = None
        self.constants: dict[str, float] = {}
        self.best, self.last = -math.inf, EpochRecord(-1, {}, None)
        trainer.after_step = self._save_in_time

    def start(self) -> None:
        """Record what is known before training: the composed config, model cost, annotation ceiling.

        Raises UserError if the disk has no room for what the run writes.
        """
        expect_room(self.folder, self.trainer.model)
        self._introduce()
        self.constants = self.trainer.evaluator.oracle(self.data.splits["val"], "val")
        with defer_signals():
            self.begun = True
            self.save()
            self.tracker.commit()

    def _introduce(self) -> None:
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(public(self.config), sort_keys=False))
        self.tracker.log_file(path)
        sampler, cost = self.trainer.sampler, self.trainer.ledger.model_cost
        parameters = sum(p.numel() for p in self.trainer.model.parameters())
        self.tracker.set_tags(
            {
                "model.parameters": parameters,
                "model.gflops_per_image": f"{cost.forward / 1e9:.4g}",
                "model.phi": f"{cost.phi:.4f}",
                "beta.resolved": sampler.beta if sampler.policy.uses_beta else None,
                "candidates": len(sampler.candidates),
            }
        )

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up a run where `save` left it: the trainer's state, all random generators, the files.

        Epochs that were recorded after that are done again, but not recorded twice.
        """
        if self.tracker.last_step < 0:  # it may have been cut off before the first commit
            self._introduce()
        own = state["record"]
        self.trainer.load_state_dict(state["trainer"])
        self.constants, self.best = own["constants"], own["best"]
        self.last = EpochRecord(own["last_epoch"], own["last_metrics"], None)
        counts = {scheme: own["counts"][scheme].numpy() for scheme in self.histogram.schemes}
        self.histogram.extend(own["epochs"], counts)
        self.last_line = last_epoch(self.folder / EPOCHS)
        self.tracker.set_tags({"resumed_at_epoch": self.trainer.epoch})
        self.tracker.commit()
        restore_generators(state["random"])
        self.begun = True

    def save(self) -> bool:
        """Write the state that `go_on` takes up; False if nothing has begun yet that could go on. Raises
        UserError where the disk is full."""
        if not self.begun:
            return False
        started = time.monotonic()
        with defer_signals():
            own = {
                "constants": self.constants,
                "best": self.best,
                "last_epoch": self.last.epoch,
                "last_metrics": self.last.metrics,
                "epochs": list(self.histogram.epochs),
                "counts": {s: torch.from_numpy(c) for s, c in self.histogram.counts.items()},
            }
            save_state(self.folder, self.identity, {"record": own, "trainer": self.trainer.state_dict()})
        self.saved_at = time.monotonic()
        self.save_s = self.saved_at - started
        return True

    def _save_in_time(self, interval_s: float | None = None) -> None:
        """Save if that was so long ago, and takes no more than its share of the time."""
        settings = self.config.trainer
        interval_s = settings.save_every_s if interval_s is None else interval_s
        quiet_s = self.save_s * (1 / settings.save_share - 1)
        if time.monotonic() - self.saved_at >= max(interval_s, quiet_s):
            self.save()

    def epoch(self, record: EpochRecord) -> None:
        """Record one epoch; the trainer must be in the state to go on from."""
        metrics = dict(record.metrics)
        if record.epoch == 0:
            metrics |= self.constants
        if record.scores is not None:
            metrics |= self._histogram(record)
        line = {"epoch": record.epoch} | {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        if record.epoch > self.last_line:
            path = self.folder / EPOCHS
            with disk_full_as_user_error(path), open(path, "a") as file:
                file.write(json.dumps(line) + "\n")
        if record.epoch > self.tracker.last_step:
            self.tracker.log_metrics(metrics, record.epoch)
            self.tracker.commit()
        value = metrics.get("val/map", math.nan)
        if value > self.best:
            self.best = value
            self._save("best.pt", record)
        self.last = record
        self._save_in_time(0.0)

    def finish(self) -> dict[str, float]:
        """Record what is known at the end: checkpoints, histogram data, ridge figures, gallery.

        Returns the last epoch's metrics and the best val/map.
        """
        self._save("last.pt", self.last)
        if not (self.folder / "best.pt").exists():  # no defect in the validation split: nothing to be best at
            self._save("best.pt", self.last)
        for name in ("best.pt", "last.pt"):
            self.tracker.log_file(self.folder / name, "checkpoints")
        self.tracker.log_file(self.folder / EPOCHS)
        if self.histogram.epochs:
            self._ridges()
        final = self._test() | self._top_losses()
        self.tracker.log_metrics(final, self.last.epoch)
        summary = {key: value for key, value in self.last.metrics.items() if key.startswith("val/")}
        summary |= {"best/val/map": self.best if math.isfinite(self.best) else math.nan}
        self.tracker.log_metrics({"best/val/map": summary["best/val/map"]}, self.last.epoch)
        return self.last.metrics | final | summary

    def _test(self) -> dict[str, float]:
        """Metrics of the test split, for the last model: measured once, chosen by nothing."""
        if not self.config.evaluation.test:
            return {}
        return self.trainer.evaluate("test")

    def _histogram(self, record: EpochRecord) -> dict[str, float]:
        schemes = self.trainer.scorer.schemes
        assert record.scores is not None
        scores = dict(zip(schemes, record.scores, strict=True))
        labels = self.data.train.labels
        self.histogram.add(record.epoch, scores, labels)
        wanted = self.config.tracking.histogram_images and self.config.tracking.name != "none"
        if wanted and record.epoch > self.tracker.last_step:
            counts = {scheme: self.histogram.counts[scheme][-1] for scheme in schemes}
            if self.painter is None:
                self.painter = EpochHistogramPainter(self.histogram.edges, self.data.defects, schemes)
            self.tracker.log_image("loss_hist", self.painter.paint(counts, record.epoch), record.epoch)
        return quantiles(scores, labels, self.data.defects)

    def _save(self, name: str, record: EpochRecord) -> None:
        save_checkpoint(
            self.folder / name,
            self.trainer.model,
            config=public(self.config),
            defects=list(self.data.defects),
            mean=list(self.data.mean),
            std=list(self.data.std),
            epoch=record.epoch,
            metrics={k: v for k, v in record.metrics.items() if math.isfinite(v)},
        )

    def _ridges(self) -> None:
        path = self.folder / "loss_histograms.npz"
        self.histogram.save(path)
        self.tracker.log_file(path, "histograms")
        for scheme in self.histogram.counts:
            figure = ridge_figure(
                self.histogram.epochs,
                self.histogram.counts[scheme],
                self.histogram.edges,
                self.data.defects,
                scheme,
            )
            path = self.folder / f"ridge_{scheme}.png"
            save_png(figure, path)
            self.tracker.log_file(path, "figures")

    def _top_losses(self) -> dict[str, float]:
        """Gallery and causes of the highest scores now, under the selection's own scheme.

        Returns the shares of TOP_SHARE of the training images by where their loss is highest.
        """
        scores, split = self._scores(), self.data.train
        order = np.argsort(-scores, kind="stable")
        top = order[: max(1, round(TOP_SHARE * len(order)))]
        shown = self.config.tracking.gallery_images
        maps = self.trainer.scorer.loss_maps(split, order[: max(len(top), shown)])
        if shown:
            self._gallery(order[:shown], maps, scores)
        clean = None if split.clean_masks is None else np.array(split.clean_masks[top])
        shares = top_loss_shares(maps.losses[: len(top)], np.array(split.masks[top]), clean)
        return shares | {"top/border_or_missing": shares["top/border"] + shares["top/missing"]}

    def _scores(self) -> np.ndarray:
        """(N,) the training images' scores, the largest over all defects."""
        book, split = self.trainer.sampler.book, self.data.train
        if book.never_scored.any():  # policies without scores: score once, at the end
            everything = np.arange(len(split))
            return self.trainer.scorer.score(split, everything, self.last.epoch + 1)[0].max(axis=1)
        return book.defect_scores().max(axis=1)

    def _gallery(self, top: np.ndarray, maps: LossMaps, scores: np.ndarray) -> None:
        split = self.data.train
        entries = [
            GalleryEntry(
                image=np.array(split.images[i]),
                annotation=np.array(split.masks[i]),
                prediction=maps.probabilities[n].transpose(1, 2, 0),
                loss_map=maps.losses[n].transpose(1, 2, 0),
                score=float(scores[i]),
                name=split.names[i],
                note=split.kinds[i],
                clean=None if split.clean_masks is None else np.array(split.clean_masks[i]),
            )
            for n, i in enumerate(top)
        ]
        path = self.folder / "gallery.png"
        save_png(gallery_figure(entries, self.data.defects), path)
        self.tracker.log_file(path, "figures")


def public(config: Config) -> dict[str, Any]:
    """The config as plain values, without a password."""
    values = asdict(config)
    if config.tracking.uri:
        values["tracking"]["uri"] = masked(config.tracking.uri)
    return values


def expect_room(folder: Path, model: nn.Module) -> None:
    """Say how much a run's checkpoints and states need; raise UserError if the disk has no room for that."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    needed = 2 * 2 * weights + STATES * 3 * weights + SMALL_FILES  # Adam keeps two values per weight
    free = shutil.disk_usage(folder).free
    log.info("writes up to %.0f MB to %s", needed / 1e6, folder)
    if needed > free:
        raise UserError(
            f"{folder}: a run needs up to {needed / 1e6:.0f} MB there, {free / 1e6:.0f} MB are free; choose "
            "another place with SBP_OUTPUT"
        )


def last_epoch(path: Path) -> int:
    """The last epoch with a whole line in epochs.jsonl, -1 if there is none; half a line is taken away."""
    if not path.exists():
        return -1
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    lines = whole.splitlines()
    return json.loads(lines[-1])["epoch"] if lines else -1
