"""Which candidates an epoch trains on: the selective draw, and the controls it is compared with.

A policy is built from config alone; what belongs to the data and to the epoch comes with the call, as a
SelectionContext.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.plugins.checks import at_least, require
from sbp.plugins.registry import Registry
from sbp.selection.draws import draw, draw_by_score, expected_kept_fraction, keep_probability, percentiles
from sbp.selection.score_book import ScoreBook


@dataclass(frozen=True)
class SelectionContext:
    """What an epoch selects from.

    candidates: (n,) image numbers, with repetitions if upsampled. book: the last scores of all N images.
    beta: selectivity, at least 0. focus: channels of the defects to select by. labels: (N, D) bool, whether
    an image holds a defect; None where nothing is known. epoch: counted from 0.
    """

    candidates: np.ndarray
    book: ScoreBook
    beta: float = 8.0
    focus: Sequence[int] = (0,)
    labels: np.ndarray | None = None
    epoch: int = 0

    def image_scores(self) -> np.ndarray:
        """(n,) score of each candidate, the largest over the focused defects; NaN where never scored."""
        return self.book.image_scores(self.focus)[self.candidates]

    def is_defective(self) -> np.ndarray:
        """(n,) bool, whether each candidate holds a defect. Raises ValueError without labels."""
        if self.labels is None:
            raise ValueError("labels: this policy needs the labels (N, D) of the images")
        return np.any(self.labels, axis=1)[self.candidates]


class Policy(ABC):
    """Chooses positions in the list of candidates.

    needs_scores: whether images are scored for it. warms_up: whether the first epochs train on everything
    instead (see SelectiveSampler). uses_beta: whether it looks at the context's beta.
    """

    name: str
    needs_scores = False
    warms_up = True
    uses_beta = False

    @abstractmethod
    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        """Positions in `context.candidates` (n,) that this epoch trains on, in any order, never empty."""


POLICIES: Registry[Policy] = Registry("selection")


@POLICIES.register("none")
class Everything(Policy):
    """No selection: every candidate, every epoch (the baseline)."""

    warms_up = False

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        return np.arange(len(context.candidates))


@POLICIES.register("selective")
class Selective(Policy):
    """Keep a candidate with probability percentile ** beta of its score, the largest over focused defects."""

    needs_scores = True
    uses_beta = True

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        return draw_by_score(context.image_scores(), context.beta, rng)


@POLICIES.register("per_defect")
class PerDefect(Policy):
    """As Selective, with a percentile per focused defect and the largest of them kept.

    A rare defect whose losses are small beside those of a common one still reaches the top of its own
    ranking. Several rankings keep more: with D independent ones about D / (D + beta).
    """

    needs_scores = True
    uses_beta = True

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        scores = context.book.defect_scores()[context.candidates]
        highest = np.max([percentiles(scores[:, d]) for d in context.focus], axis=0)
        return draw(keep_probability(highest, context.beta), rng)


@POLICIES.register("random")
class Random(Policy):
    """A control: the same kept fraction and the same warm-up, drawn blindly.

    fraction: kept share in (0, 1]; None keeps what beta would keep.
    """

    def __init__(self, fraction: float | None = None):
        require(fraction is None or 0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1, or null")
        self.fraction, self.uses_beta = fraction, fraction is None

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        n = len(context.candidates)
        fraction = expected_kept_fraction(context.beta, n) if self.fraction is None else self.fraction
        return draw(np.full(n, fraction, dtype=np.float32), rng)


@POLICIES.register("balanced")
class Balanced(Policy):
    """A control that needs labels but no scores: all defective candidates and random healthy ones.

    healthy_ratio: healthy candidates drawn per defective one, at least 0. With no defective candidate at
    all, one healthy candidate is drawn, so that an epoch is never empty.
    """

    warms_up = False

    def __init__(self, healthy_ratio: float = 1.0):
        at_least(0, healthy_ratio=healthy_ratio)
        self.healthy_ratio = healthy_ratio

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        is_defective = context.is_defective()
        positives, negatives = np.flatnonzero(is_defective), np.flatnonzero(~is_defective)
        wanted = round(self.healthy_ratio * len(positives))
        if not len(positives):
            wanted = max(1, wanted)
        chosen = rng.choice(negatives, size=min(wanted, len(negatives)), replace=False)
        return np.concatenate([positives, chosen])
