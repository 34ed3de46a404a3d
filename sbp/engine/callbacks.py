"""What goes along with training and never changes it: recorders, probes, checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbp.utils.signals import defer_signals

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch left behind: its metrics, and the scores (S, N, D) of all units (images, or selected
    tiles) if images were scored."""

    epoch: int
    metrics: dict[str, float]
    scores: np.ndarray | None


class Callback:
    """Hooks that the trainer calls, each for all callbacks in the order of its list.

    A callback leaves weights, scores that selection uses, and the global random generators as they are. What
    it must know after a restart it gives in `state_dict`, which goes into the run's state. A run may be
    killed anywhere; signals that can wait do so until the hook is over where that is said.

    on_every_rank: where several processes train the model, whether all of them call it, or only the one that
    records. One that scores or evaluates through the trainer must be called by all.
    """

    on_every_rank = False

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Training begins or, after the states were loaded, is resumed."""

    def before_training(self, trainer: "Trainer") -> Mapping[str, float]:
        """The epoch's images are scored, and not drawn yet. Returns metrics of the epoch. Called once per
        epoch, unless it is cut off before all callbacks are done."""
        return {}

    def on_step_end(self, trainer: "Trainer") -> None:
        """Between two training steps: the trainer's state may be saved."""

    def on_epoch_end(self, trainer: "Trainer", record: EpochRecord) -> None:
        """The epoch is over, and the trainer stands before the next one: its state may be saved once all
        callbacks before this one were called. Metrics added to record reach those after it. Signals wait."""

    def on_fit_end(self, trainer: "Trainer", record: EpochRecord) -> None:
        """The budget is spent. record: the last epoch, without metrics; what is added counts as the run's."""

    def on_interrupt(self, trainer: "Trainer") -> None:
        """A signal ends training, between any two parts of an epoch: the trainer's state may be saved."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state_dict` described."""


class ScoreMonitor(Callback):
    """Scores everything every so many epochs, at no charge to the budget, if the policy needs no scores."""

    on_every_rank = True

    def __init__(self, every: int):
        self.every = every

    def before_training(self, trainer: "Trainer") -> Mapping[str, float]:
        now = trainer.current
        assert now is not None
        if trainer.sampler.policy.needs_scores or now.epoch % self.every or now.has_scores:
            return {}
        everything = np.arange(len(trainer.data.train))
        scores = trainer.score(everything, now.epoch)
        with defer_signals():
            trainer.sampler.record_scores(trainer.units.of_images(everything), scores, now.epoch)
            now.has_scores = True
        return {}
