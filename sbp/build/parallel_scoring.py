"""What scores beside training, from the config."""

import copy

from sbp.config.groups import ScoringConfig
from sbp.data.dataset import DataSet
from sbp.engine.device import Compute
from sbp.engine.parallel_scoring import ParallelScoring, ScoringBackend
from sbp.engine.scoring import Scorer
from sbp.engine.scoring_backends import ScoringDevice, ScoringProcess


def parallel_scoring(config: ScoringConfig, scorer: Scorer, data: DataSet) -> ParallelScoring | None:
    """None for scoring.parallel=none. scorer: the one of training, whose weights passes start from. Raises
    UserError for a device that is not there."""
    if config.parallel == "none":
        return None
    backend: ScoringBackend
    if config.parallel == "device":
        assert config.device is not None
        backend = ScoringDevice(on_device(scorer, config.device), data.train)
    else:
        backend = ScoringProcess(scorer, data.train, config.threads)
    return ParallelScoring(backend, config.hand_over, config.max_age)


def on_device(scorer: Scorer, device: str) -> Scorer:
    """A scorer like `scorer` on another device, with a model of its own."""
    other = copy.copy(scorer)
    other.compute = Compute.like(scorer.compute, device, key="scoring.device")
    other.model = other.compute.place(copy.deepcopy(scorer.model))
    return other
