"""What a selection policy is: it chooses which candidates an epoch trains on.

A policy is built from config alone; what belongs to the data and to the epoch comes with the call, as a
SelectionContext.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sbp.plugins.registry import Registry
from sbp.selection.score_book import ScoreBook


@dataclass(frozen=True)
class SelectionContext:
    """What an epoch selects from.

    candidates: (n,) image numbers, with repetitions if upsampled. book: the last scores of all N images.
    beta: selectivity, at least 0. focus: channels of the defects to select by. labels: (N, D) bool, whether
    an image holds a defect; None where nothing is known. epoch: counted from 0. progress: share of the run's
    budget that is used, in [0, 1]. suspects: (N,) bool, images whose score counts for nothing since their
    annotation may be wrong (see Guard); None for no image. holdout: (N, D) scores of the images by a model
    that was trained on others; None where there is no such model.
    """

    candidates: np.ndarray
    book: ScoreBook
    beta: float = 8.0
    focus: Sequence[int] = (0,)
    labels: np.ndarray | None = None
    epoch: int = 0
    progress: float = 0.0
    suspects: np.ndarray | None = None
    holdout: np.ndarray | None = None

    def of_candidates(self, values: np.ndarray) -> np.ndarray:
        """(n, ...) the values of each candidate, of values (N, ...) of the images; not copied where the
        candidates are all images in their order."""
        return values if self._all_in_order else values[self.candidates]

    @cached_property
    def _all_in_order(self) -> bool:
        n = len(self.book)
        return len(self.candidates) == n and np.array_equal(self.candidates, np.arange(n))

    def image_scores(self) -> np.ndarray:
        """(n,) score of each candidate, the largest over the focused defects; NaN where never scored."""
        return self.of_candidates(self.book.image_scores(self.focus))

    def is_suspect(self) -> np.ndarray | None:
        """(n,) bool of each candidate; None if none is."""
        if self.suspects is None or not self.suspects.any():
            return None
        return self.of_candidates(self.suspects)

    def image_losses(self) -> np.ndarray:
        """(n,) loss of each candidate, the mean over the focused defects; see ScoreBook.image_losses."""
        return self.of_candidates(self.book.image_losses(self.focus))

    def lowest_probabilities(self) -> np.ndarray:
        """(n,) for each candidate, the lowest probability that the true label of a pixel of a focused defect
        has; NaN where never scored. Raises ValueError if the book has no largest losses."""
        largest = self.book.defect_scores("max")[:, list(self.focus)].max(axis=1)
        return np.exp(-self.of_candidates(largest))

    def is_defective(self) -> np.ndarray:
        """(n,) bool, whether each candidate holds a defect. Raises ValueError without labels."""
        return self.of_candidates(np.any(self.known_labels(), axis=1))

    def known_labels(self) -> np.ndarray:
        """(N, D) bool. Raises ValueError without labels."""
        if self.labels is None:
            raise ValueError("labels: this policy needs the labels (N, D) of the images")
        return self.labels


class Policy(ABC):
    """Chooses positions in the list of candidates.

    needs_scores: whether images are scored for it. warms_up: whether the first epochs train on everything
    instead (see SelectiveSampler). uses_beta: whether it looks at the context's beta. weighs_images: whether
    the losses of some images count more than those of others, see `weights`. reads_confidence: whether it
    asks for `lowest_probabilities`, which a loss map that is a cross-entropy and the scheme `max` give. why:
    of a policy that another one chose by the labels, the reason in words.
    """

    name: str
    needs_scores = False
    warms_up = True
    uses_beta = False
    weighs_images = False
    reads_confidence = False
    why = ""

    def for_labels(self, labels: np.ndarray) -> "Policy":
        """The policy to use where images hold these defects, labels (N, D) bool: itself, unless it chooses
        another one by them."""
        return self

    @abstractmethod
    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        """Positions in `context.candidates` (n,) that this epoch trains on, in any order, never empty."""

    def weights(self, context: SelectionContext) -> np.ndarray | None:
        """(N,) float32, by image number, what the loss of an image counts if the epoch trains on it; None: 1
        for all."""
        return None

    def rate(self, context: SelectionContext, kept: np.ndarray) -> float:
        """What the epoch's learning rate is multiplied by. kept: what `select` has returned."""
        return 1.0


POLICIES: Registry[Policy] = Registry("selection")
