"""Policies that rank all candidates together by loss, and the blind draw that they are compared with."""

import numpy as np

from sbp.plugins.checks import require
from sbp.selection.draws import draw, draw_by_score, expected_kept_fraction, keep_probability, percentiles
from sbp.selection.policy import POLICIES, Policy, SelectionContext


@POLICIES.register("none")
class Everything(Policy):
    """No selection: every candidate, every epoch (the baseline)."""

    warms_up = False

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        return np.arange(len(context.candidates))


@POLICIES.register("selective")
class Selective(Policy):
    """Keep a candidate with probability percentile ** beta of its score, the largest over focused defects.

    A suspect is kept at most as often as the mean candidate.
    """

    needs_scores = True
    uses_beta = True

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        suspect = context.is_suspect()
        if suspect is None:
            return draw_by_score(context.image_scores(), context.beta, rng)
        keep = keep_probability(percentiles(context.image_scores()), context.beta)
        return draw(at_most_blind(keep, suspect, context.beta), rng)


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
        keep = keep_probability(highest, context.beta)
        suspect = context.is_suspect()
        if suspect is not None:
            keep = at_most_blind(keep, suspect, context.beta)
        return draw(keep, rng)


@POLICIES.register("reducible")
class Reducible(Policy):
    """Keep a candidate with probability percentile ** beta of what training could still take off its score.

    That is its score less the one that a model gives which was trained on other images (RHO-LOSS, Mindermann
    et al., arXiv:2206.07137, equation 3; there the highest of a batch are taken): a wrong annotation is high
    in both. So may be a rare look-alike. holdout: path of that model's checkpoint, best.pt or last.pt, which
    the run scores with before it trains; null where the context's scores come from elsewhere.
    """

    needs_scores = True
    uses_beta = True

    def __init__(self, holdout: str | None = None):
        self.holdout = holdout

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        if context.holdout is None:
            raise ValueError("holdout: this policy needs scores (N, D) by a model that was trained on others")
        focus = list(context.focus)
        reducible = (context.book.defect_scores() - context.holdout)[:, focus].max(axis=1)
        return draw_by_score(reducible[context.candidates], context.beta, rng)


def at_most_blind(keep: np.ndarray, suspect: np.ndarray, beta: float) -> np.ndarray:
    """Keep probabilities (n,), those of suspects (n,) no higher than what a draw without scores gives all."""
    return np.where(suspect, np.minimum(keep, expected_kept_fraction(beta, len(keep))), keep)


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
