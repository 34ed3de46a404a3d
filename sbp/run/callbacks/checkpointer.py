"""Models for use, and the state that an interrupted run resumes from."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from sbp.config import Config
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.snapshot import snapshot
from sbp.engine.trainer import Trainer
from sbp.metrics import names
from sbp.metrics.tasks import task_of
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import save_checkpoint
from sbp.run.state import save_state
from sbp.tracking.tracker import Tracker
from sbp.utils.signals import defer_signals

log = logging.getLogger("sbp")


class Checkpointer(Callback):
    """best.pt is the model that validated best so far, by its task's metric (sbp.metrics.tasks), the latest
    of several, last.pt that of the last epoch.

    state.pt, until the run has finished, is saved at the start, at each epoch's end, and between steps if the
    last time was trainer.save_every_s ago; less often where that would take more than trainer.save_share of
    the time. identity: the run's fingerprint.
    """

    def __init__(self, config: Config, tracker: Tracker, identity: str, resumed: bool):
        self.config, self.tracker, self.identity, self.resumed = config, tracker, identity, resumed
        self.folder = Path(config.run_dir)
        self.best = -math.inf
        self.recorded = -1  # epochs that all callbacks know of; -1 before the first state
        self.saved_at, self.save_s = time.monotonic(), 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        with defer_signals():
            if not self.resumed:
                self.save(trainer)
            self.recorded = trainer.epoch
            self.tracker.commit()  # after the state: what is recorded can be resumed

    def on_step_end(self, trainer: Trainer) -> None:
        self._save_in_time(trainer, self.config.trainer.save_every_s)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        self.recorded = trainer.epoch
        value = record.metrics.get(task_of(trainer.loss).validated, math.nan)
        # of equally good ones the later, which has learnt longer
        if value > self.best or value == self.best > 0:
            self.best = value
            self._save_model("best.pt", trainer)
        self._save_in_time(trainer, 0.0)

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        self._save_model("last.pt", trainer)
        if not (self.folder / "best.pt").exists():  # no defect in the validation split: nothing to be best at
            self._save_model("best.pt", trainer)
        for name in ("best.pt", "last.pt"):
            self.tracker.log_file(self.folder / name, "checkpoints")
        best = {
            names.best(task_of(trainer.loss).validated): self.best if math.isfinite(self.best) else math.nan
        }
        self.tracker.log_metrics(best, record.epoch)
        record.metrics.update(best)

    def on_interrupt(self, trainer: Trainer) -> None:
        # else nothing has begun, or an epoch's end or a step was broken off
        if self.recorded == trainer.epoch and not trainer.in_step:
            self.save(trainer)
            log.info("stopped; the same command with if_exists=resume continues from here")

    def save(self, trainer: Trainer) -> None:
        """Write the state. Raises UserError where the disk is full; the state before it stays."""
        started = time.monotonic()
        with defer_signals():
            save_state(self.folder, self.identity, {"trainer": snapshot(trainer)})
        self.saved_at = time.monotonic()
        self.save_s = self.saved_at - started

    def _save_in_time(self, trainer: Trainer, interval_s: float) -> None:
        """Save if that was so long ago, and takes no more than its share of the time."""
        quiet_s = self.save_s * (1 / self.config.trainer.save_share - 1)
        if time.monotonic() - self.saved_at >= max(interval_s, quiet_s):
            self.save(trainer)

    def _save_model(self, name: str, trainer: Trainer) -> None:
        data, last = trainer.data, trainer.last
        save_checkpoint(
            self.folder / name,
            trainer.model,
            config=public_config(self.config),
            defects=list(data.defects),
            mean=list(data.mean),
            std=list(data.std),
            epoch=last.epoch,
            metrics={k: v for k, v in last.metrics.items() if math.isfinite(v)},
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
