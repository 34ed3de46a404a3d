"""Scoring beside training: a snapshot of the weights scores elsewhere, and a later draw takes the scores.

The blog post names this ("Speeding up": the scoring pass in parallel) and did not build it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sbp.engine.scoring import Scorer
from sbp.plugins.checks import one_of, require

HAND_OVERS = ("fixed", "arrival")


@dataclass(frozen=True)
class ScoringJob:
    """A pass to do: with these weights, those of the start of `epoch`, score the images `indices` (n,)."""

    epoch: int
    indices: np.ndarray
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Scores:
    """What a pass gave: scores float32 of the images `indices` (n,), see Scorer.score, by the weights that
    began `epoch`."""

    epoch: int
    indices: np.ndarray
    scores: np.ndarray


class ScoringBackend(Protocol):
    """Does one pass at a time, elsewhere."""

    def start(self, job: ScoringJob) -> None:
        """Begin the pass; does not wait for it."""

    def ready(self) -> bool:
        """Whether `result` would not wait."""

    def result(self) -> np.ndarray:
        """Wait for the scores of the pass. Raises what went wrong in it."""

    def close(self) -> None:
        """Give up what is under way, and everything that was taken."""


class ParallelScoring:
    """One scoring pass at a time beside training, and when its scores are handed over.

    hand_over: `fixed`, at the start of the epoch `max_age` after that of the weights, whenever the pass is
    done: a run is the same each time. `arrival`: at the first start of an epoch at which they are there, at
    the latest at that one: faster where a pass takes unequally long, and not reproducible.
    max_age: epochs, at least 1, that the weights of scores may be old when a draw first sees them.
    """

    def __init__(self, backend: ScoringBackend, hand_over: str = "fixed", max_age: int = 1):
        one_of("scoring.hand_over", hand_over, HAND_OVERS)
        require(max_age >= 1, "scoring.max_age", max_age, "at least 1")
        self.backend, self.hand_over, self.max_age = backend, hand_over, max_age
        self.job: ScoringJob | None = None

    @property
    def ahead(self) -> int:
        """Epochs from the start of a pass to the first draw that may see its scores."""
        return self.max_age if self.hand_over == "fixed" else 1

    def start(self, scorer: Scorer, indices: np.ndarray, epoch: int) -> None:
        """Begin to score `indices` with a copy of the weights as they are, at the start of `epoch`."""
        assert self.job is None, "one pass at a time"
        weights = {key: value.detach().cpu().clone() for key, value in scorer.model.state_dict().items()}
        self.job = ScoringJob(epoch, indices, weights)
        self.backend.start(self.job)

    def take(self, epoch: int, needed: bool = False) -> Scores | None:
        """The scores that the draw of `epoch` is due, waited for if they must be; None if there are none yet.

        needed: nothing was ever scored, so that the draw cannot do without.
        """
        if self.job is None:
            return None
        due = needed or epoch - self.job.epoch >= self.max_age
        if not due and not (self.hand_over == "arrival" and self.backend.ready()):
            return None
        return Scores(self.job.epoch, self.job.indices, self.backend.result())

    def taken(self) -> None:
        """The scores are in the book: the pass is over."""
        self.job = None

    def state_dict(self) -> dict[str, Any] | None:
        """The pass under way, from its beginning: done again, it gives the same."""
        if self.job is None:
            return None
        return {
            "epoch": self.job.epoch,
            "indices": torch.from_numpy(self.job.indices),
            "weights": self.job.weights,
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Begin the pass again that `state_dict` described."""
        if state is not None:
            self.job = ScoringJob(state["epoch"], state["indices"].numpy(), state["weights"])
            self.backend.start(self.job)

    def close(self) -> None:
        """End what is under way."""
        self.job = None
        self.backend.close()
