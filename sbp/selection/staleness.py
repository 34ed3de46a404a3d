"""Which images get a fresh score before an epoch: how old a score may become (the blog post, "Staleness")."""

import math
from typing import Protocol

import numpy as np

from sbp.selection.score_book import NEVER, ScoreBook


class Staleness(Protocol):
    """Decides what the scoring pass of an epoch covers."""

    name: str
    writes_back: bool
    """Whether the losses of the training step itself go into the score book."""

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        """Image indices to score before `epoch`; `first_epoch` is the first one that selects."""
        ...


class Periodic:
    """A scoring pass every N epochs over all images, or only over those trained on since their last score.

    every_epoch: N = 1, all. stale: N > 1, all (the blog's strategy 1). smart: N = 1, only the images
    seen (strategy 2). stale_smart: both. The score of an image that is not rescored stays as it was; since
    losses fall during training, its percentile rises with time, and it is drawn again.
    """

    writes_back = False

    def __init__(self, every: int = 1, only_seen: bool = False):
        if every < 1:
            raise ValueError(f"staleness: every={every}, must be at least 1 epoch")
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


class Reuse:
    """No pass over everything: the training step's own losses are written back, the oldest rest is refreshed.

    Each epoch the `refresh_fraction` of the data set with the oldest scores is scored, so that an image
    which has not been drawn for long is not forgotten. Written-back losses are those of augmented images
    under the weights of their step. Beyond the blog post, which scores in a pass of its own.
    """

    name = "reuse"
    writes_back = True

    def __init__(self, refresh_fraction: float = 0.05):
        if not 0 <= refresh_fraction <= 1:
            raise ValueError(f"staleness: refresh_fraction={refresh_fraction}, must lie in [0, 1]")
        self.refresh_fraction = refresh_fraction

    def images_to_score(self, epoch: int, first_epoch: int, book: ScoreBook) -> np.ndarray:
        return book.oldest_scores(math.ceil(self.refresh_fraction * len(book)))
