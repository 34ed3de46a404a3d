"""Scores for the record, of runs whose selection needs none."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sbp.engine.callbacks import Callback
from sbp.utils.signals import defer_signals

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer


class ScoreMonitor(Callback):
    """Scores everything every so many epochs, at no charge to the budget, if the policy needs no scores."""

    def __init__(self, every: int):
        self.every = every

    def before_training(self, trainer: "Trainer") -> Mapping[str, float]:
        now = trainer.current
        assert now is not None
        if trainer.sampler.policy.needs_scores or now.epoch % self.every or now.has_scores:
            return {}
        everything = np.arange(len(trainer.data.train))
        scores = trainer.scorer.score(trainer.data.train, everything, now.epoch)
        with defer_signals():
            trainer.sampler.record_scores(everything, scores, now.epoch)
            now.has_scores = True
        return {}
