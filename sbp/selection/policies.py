"""Which candidates an epoch trains on: the selective draw, and the controls it is compared with.

A policy is built from config alone; what belongs to the data and to the epoch comes with the call, as a
SelectionContext.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.plugins.checks import at_least, fraction, one_of, require
from sbp.plugins.registry import Registry
from sbp.selection.draws import draw, draw_by_score, expected_kept_fraction, keep_probability, percentiles
from sbp.selection.score_book import ScoreBook
from sbp.selection.strata import (
    HEALTHY,
    draw_weighted,
    drawn_repeats,
    highest_stand_out,
    repeat_factors,
    strata_of,
    stratum_weights,
)


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

    def image_scores(self) -> np.ndarray:
        """(n,) score of each candidate, the largest over the focused defects; NaN where never scored."""
        return self.book.image_scores(self.focus)[self.candidates]

    def is_suspect(self) -> np.ndarray | None:
        """(n,) bool of each candidate; None if none is."""
        if self.suspects is None or not self.suspects.any():
            return None
        return self.suspects[self.candidates]

    def image_losses(self) -> np.ndarray:
        """(n,) loss of each candidate, the mean over the focused defects; see ScoreBook.image_losses."""
        return self.book.image_losses(self.focus)[self.candidates]

    def lowest_probabilities(self) -> np.ndarray:
        """(n,) for each candidate, the lowest probability that the true label of a pixel of a focused defect
        has; NaN where never scored. Raises ValueError if the book has no largest losses."""
        largest = self.book.defect_scores("max")[:, list(self.focus)].max(axis=1)
        return np.exp(-largest[self.candidates])

    def is_defective(self) -> np.ndarray:
        """(n,) bool, whether each candidate holds a defect. Raises ValueError without labels."""
        return np.any(self.known_labels(), axis=1)[self.candidates]

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


@POLICIES.register("stratified")
class Stratified(Policy):
    """Strata by label, a budget for each, and within a stratum a draw by loss without replacement.

    healthy: healthy images an epoch, per defective one, at least 0; healthy_end: the same at the end of the
    run, on a straight line from one to the other, null: no change. defective: share of each defective
    stratum, in [0, 1]. strata: `defect`, `combination` or `label`, see sbp.selection.strata. beta_healthy,
    beta_defective: exponents of the percentile within the stratum, at least 0; 0 draws blindly. mix: share of
    the draw that is blind, in [0, 1]; a suspect takes part in that share alone. repeat_below: defects that
    fewer than this share of the images hold are repeated by sqrt(repeat_below / share), see repeat_factors;
    null: no repetition. stands_out: a stratum is drawn blindly while the highest tenth of its scores is in
    the mean below so many times their median, at least 0: there is nothing hard in it yet, or any more.
    """

    warms_up = False

    def __init__(
        self,
        healthy: float = 1.0,
        healthy_end: float | None = None,
        defective: float = 1.0,
        strata: str = "defect",
        beta_healthy: float = 6.0,
        beta_defective: float = 0.0,
        mix: float = 0.3,
        repeat_below: float | None = None,
        stands_out: float = 0.0,
    ):
        at_least(0, healthy=healthy, healthy_end=healthy_end)
        at_least(0, beta_healthy=beta_healthy, beta_defective=beta_defective, stands_out=stands_out)
        fraction(defective=defective, mix=mix, repeat_below=repeat_below)
        one_of("strata", strata, ("defect", "combination", "label"))
        self.healthy, self.defective, self.strata, self.mix = healthy, defective, strata, mix
        self.healthy_end = healthy if healthy_end is None else healthy_end
        self.beta_healthy, self.beta_defective = beta_healthy, beta_defective
        self.repeat_below, self.stands_out = repeat_below, stands_out
        self.needs_scores = mix < 1 and (beta_healthy > 0 or (beta_defective > 0 and defective < 1))

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        labels, scores = context.known_labels()[context.candidates], context.image_scores()
        suspect = context.is_suspect()
        stratum = strata_of(labels, self.strata)
        healthy = np.flatnonzero(stratum == HEALTHY)
        defective = [
            np.flatnonzero(stratum == s) for s in np.flatnonzero(np.bincount(stratum)) if s != HEALTHY
        ]
        chosen = [self._of_defective(positions, scores, suspect, rng) for positions in defective]
        repeated = np.concatenate([np.empty(0, dtype=np.int64), *chosen])
        if self.repeat_below is not None:
            share = np.array([np.count_nonzero(labels[:, d]) for d in range(labels.shape[1])]) / len(labels)
            factors = repeat_factors(labels[repeated], share, self.repeat_below)
            repeated = np.repeat(repeated, drawn_repeats(factors, rng))
        ratio = self.healthy + context.progress * (self.healthy_end - self.healthy)
        wanted = round(ratio * sum(map(len, defective)))
        if not len(repeated):
            wanted = max(1, wanted)  # an epoch is never empty
        weights = self._weights(healthy, scores, suspect, self.beta_healthy)
        return np.concatenate([repeated, healthy[draw_weighted(weights, wanted, rng)]])

    def _of_defective(
        self, positions: np.ndarray, scores: np.ndarray, suspect: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Those drawn from one stratum."""
        wanted = math.ceil(self.defective * len(positions))
        if wanted == len(positions):
            return positions
        weights = self._weights(positions, scores, suspect, self.beta_defective)
        return positions[draw_weighted(weights, wanted, rng)]

    def _weights(
        self, positions: np.ndarray, scores: np.ndarray, suspect: np.ndarray | None, beta: float
    ) -> np.ndarray:
        """Weights of a stratum's candidates, which stand at `positions`."""
        inside = scores[positions]
        if self.stands_out and not highest_stand_out(inside, self.stands_out):
            beta = 0.0
        doubtful = None if suspect is None else suspect[positions]
        return stratum_weights(inside, beta, self.mix, doubtful)


@POLICIES.register("frequency_of_use")
class FrequencyOfUse(Policy):
    """A control: all defective candidates, and the healthy ones that were used least so far.

    The published standard in defect detection (mixed-segdec-net, SuperSimpleNet): u = 1 - uses / most uses,
    a healthy image weighs (u - median(u) + 1) ** (4 ln n) of the n healthy ones, drawn without replacement.
    healthy_ratio: healthy candidates per defective one, at least 0.
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
        uses = context.book.times_selected[context.candidates[negatives]]
        weights = use_weights(uses)
        return np.concatenate([positives, negatives[draw_weighted(weights, wanted, rng)]])


def use_weights(uses: np.ndarray) -> np.ndarray:
    """(n,) float32 weights in (0, 1], the largest 1, of healthy images that were used so often, see
    FrequencyOfUse."""
    if not len(uses):
        return np.empty(0, dtype=np.float32)
    u = 1 - uses / max(1, uses.max())
    power = 4 * math.log(len(uses)) * np.log(np.maximum(u - np.median(u) + 1, 1e-12))
    return np.maximum(np.exp(power - power.max()), 1e-30).astype(np.float32)


@POLICIES.register("auto")
class Auto(Policy):
    """Chooses by the labels: everything, balanced, or balanced with the healthy images drawn by loss.

    Where half of the images or none hold a defect, there is nothing to leave out. Where there are fewer
    healthy images than `choice` for each defective one, a balanced draw takes most of them anyway, and losses
    add nothing. Else the healthy ones are drawn by loss, the steeper the more there are to choose from, as
    long as some stand out. choice: at least 1. It looks at training labels and losses alone.
    """

    needs_scores = True
    warms_up = False
    STANDS_OUT = 3.0

    def __init__(self, choice: float = 2.0):
        at_least(1, choice=choice)
        self.choice = choice

    def for_labels(self, labels: np.ndarray) -> Policy:
        defective = int(np.any(labels, axis=1).sum())
        healthy = len(labels) - defective
        if not defective or defective >= healthy:
            chosen: Policy = Everything()
            reason = "everything, as there is too little to leave out"
        elif healthy < self.choice * defective:
            chosen = Balanced()
            reason = "balanced, as there are too few healthy images for losses to choose from"
        else:
            beta = min(max(healthy / defective - 1, 2.0), 12.0)
            chosen = Stratified(beta_healthy=beta, stands_out=self.STANDS_OUT)
            reason = (
                f"every defective image, and as many healthy ones drawn by loss (beta_healthy={beta:.3g})"
            )
        chosen.why = f"{defective} with a defect, {healthy} without: {reason}"
        return chosen

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        return self.for_labels(context.known_labels()).select(context, rng)
