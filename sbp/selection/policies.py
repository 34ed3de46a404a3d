"""Which candidates an epoch trains on: the selective draw, and the controls it is compared with."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sbp.selection.draws import (
    draw,
    draw_by_score,
    expected_kept_fraction,
    keep_probability,
    percentiles,
)
from sbp.selection.score_book import ScoreBook


class Policy(Protocol):
    """Chooses positions in the list of candidates (image indices, with repetitions if upsampled)."""

    name: str
    needs_scores: bool
    warms_up: bool
    """Whether the first epochs train on everything instead (see SelectiveSampler)."""

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        """Positions in `candidates` (n,) that this epoch trains on, in any order, never empty."""
        ...


class Everything:
    """No selection: every candidate, every epoch (the baseline)."""

    name = "none"
    needs_scores = False
    warms_up = False

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        return np.arange(len(candidates))


class Selective:
    """Keep a candidate with probability percentile ** beta of its score, the largest over focused defects."""

    name = "selective"
    needs_scores = True
    warms_up = True

    def __init__(self, beta: float, focus: Sequence[int]):
        if not beta >= 0:
            raise ValueError(f"beta={beta}, must be at least 0")
        self.beta, self.focus = beta, tuple(int(d) for d in focus)
        if not self.focus:
            raise ValueError("focus: name at least one defect to select by")

    def percentiles(self, candidates: np.ndarray, book: ScoreBook) -> np.ndarray:
        """(n,) percentile of each candidate among the candidates; 1 where never scored."""
        return percentiles(book.image_scores(self.focus)[candidates])

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        return draw_by_score(book.image_scores(self.focus)[candidates], self.beta, rng)


class PerDefect(Selective):
    """As Selective, with a percentile per focused defect and the largest of them kept.

    A rare defect whose losses are small beside those of a common one still reaches the top of its own
    ranking. Several rankings keep more: with D independent ones about D / (D + beta).
    """

    name = "per_defect"

    def percentiles(self, candidates: np.ndarray, book: ScoreBook) -> np.ndarray:
        scores = book.defect_scores()[candidates]
        return np.max([percentiles(scores[:, d]) for d in self.focus], axis=0)

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        return draw(keep_probability(self.percentiles(candidates, book), self.beta), rng)


class Random:
    """A control: the same kept fraction and the same warm-up, drawn blindly."""

    name = "random"
    needs_scores = False
    warms_up = True

    def __init__(self, beta: float | None = None, fraction: float | None = None):
        if (beta is None) == (fraction is None):
            raise ValueError("random: give exactly one of beta and fraction")
        if beta is not None and not beta >= 0:
            raise ValueError(f"random: beta={beta}, must be at least 0")
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"random: fraction={fraction}, must lie in (0, 1]")
        self.beta, self.fraction = beta, fraction

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        n = len(candidates)
        fraction = self.fraction if self.beta is None else expected_kept_fraction(self.beta, n)
        return draw(np.full(n, fraction, dtype=np.float32), rng)


class Balanced:
    """A control that needs labels but no scores: all defective candidates and random healthy ones.

    healthy_ratio: healthy candidates drawn per defective one, at least 0. With no defective candidate at
    all, one healthy candidate is drawn, so that an epoch is never empty.
    """

    name = "balanced"
    needs_scores = False
    warms_up = False

    def __init__(self, defective: np.ndarray, healthy_ratio: float = 1.0):
        if not 0 <= healthy_ratio < math.inf:
            raise ValueError(f"balanced: healthy_ratio={healthy_ratio}, must be finite and at least 0")
        self.defective, self.healthy_ratio = np.asarray(defective, dtype=bool), healthy_ratio

    def select(self, candidates: np.ndarray, book: ScoreBook, rng: np.random.Generator) -> np.ndarray:
        is_defective = self.defective[candidates]
        positives, negatives = np.flatnonzero(is_defective), np.flatnonzero(~is_defective)
        wanted = round(self.healthy_ratio * len(positives))
        if not len(positives):
            wanted = max(1, wanted)
        chosen = rng.choice(negatives, size=min(wanted, len(negatives)), replace=False)
        return np.concatenate([positives, chosen])
