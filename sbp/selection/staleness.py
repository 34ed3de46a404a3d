"""Which images get a fresh score before an epoch: how old a score may become (the blog post, "Staleness")."""

import math
from abc import ABC, abstractmethod

import numpy as np

from sbp.plugins.checks import at_least, fraction
from sbp.plugins.registry import Registry
from sbp.selection.score_book import NEVER, ScoreBook


class Staleness(ABC):
    """Decides what the scoring pass of an epoch covers.

    writes_back: whether the losses of the training step itself go into the score book. follows_training:
    whether what it covers is only known once the epoch before is over.
    """

    name: str
    writes_back = False
    follows_training = False

    @abstractmethod
    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        """Image indices to score before `epoch`; `first_epoch` is the first one that selects."""


STALENESSES: Registry[Staleness] = Registry("staleness")


class Periodic(Staleness):
    """A scoring pass every N epochs over all images, or only over those trained on since their last score.

    The score of an image that is not rescored stays as it was; since losses fall during training, its
    percentile rises with time, and it is drawn again. `name` says what it does, whatever it was called:
    every_epoch with N = 9 is stale.

    every: N, at least 1 epoch. only_seen: only the images trained on since their last score.
    """

    def __init__(self, every: int = 1, only_seen: bool = False):
        at_least(1, every=every)
        self.every, self.only_seen = every, only_seen
        self.name = {
            (False, False): "every_epoch",
            (True, False): "stale",
            (False, True): "smart",
            (True, True): "stale_smart",
        }[every > 1, only_seen]

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        if (epoch - first_epoch) % self.every:
            return np.empty(0, dtype=np.int64)
        if not self.only_seen:
            return np.arange(len(book))
        # A score taken before epoch e is dated e; training in epoch e makes it outdated. Before the first
        # selective epoch there is nothing to go by, so never-scored images are scored as well.
        outdated = (book.trained_at != NEVER) & (book.trained_at >= book.scored_at)
        if epoch == first_epoch:
            outdated |= book.never_scored
        return np.flatnonzero(outdated)


@STALENESSES.register("every_epoch")
class EveryEpoch(Periodic):
    """Every image is scored before every epoch."""

    def __init__(self, every: int = 1):
        super().__init__(every)


@STALENESSES.register("stale")
class Stale(Periodic):
    """Every image is scored, but only every N epochs (the blog's strategy 1)."""

    def __init__(self, every: int = 4):
        super().__init__(every)


@STALENESSES.register("smart")
class Smart(Periodic):
    """Before every epoch, only the images trained on since their last score (the blog's strategy 2)."""

    def __init__(self, every: int = 1):
        super().__init__(every, only_seen=True)


@STALENESSES.register("stale_smart")
class StaleSmart(Periodic):
    """Every N epochs, only the images trained on since their last score (both strategies)."""

    def __init__(self, every: int = 4):
        super().__init__(every, only_seen=True)


@STALENESSES.register("reuse")
class Reuse(Staleness):
    """No pass over everything: the training step's own losses are written back, the oldest rest is refreshed.

    Each epoch the `refresh_fraction` of the data set with the oldest scores is scored, so that an image
    which has not been drawn for long is not forgotten. Written-back losses are those of augmented images
    under the weights of their step. Beyond the blog post, which scores in a pass of its own.
    """

    writes_back = True

    def __init__(self, refresh_fraction: float = 0.05):
        fraction(refresh_fraction=refresh_fraction)
        self.refresh_fraction = refresh_fraction

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        return book.oldest_scores(math.ceil(self.refresh_fraction * len(book)))


@STALENESSES.register("hidden")
class Hidden(Staleness):
    """The training step's own losses are written back; what an epoch left out is scored before the next draw.

    Every score is then of the epoch before, as KAKURENBO has it (arXiv:2310.10102, its hidden samples).
    """

    writes_back = True
    follows_training = True

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        return np.flatnonzero(book.trained_at != epoch - 1)
