"""Selection by label and loss: labels say how many images of each kind, losses which of them."""

import math

import numpy as np

from sbp.plugins.checks import at_least, fraction, one_of
from sbp.selection.balanced import Balanced
from sbp.selection.policies import Everything
from sbp.selection.policy import POLICIES, Policy, SelectionContext
from sbp.selection.strata import (
    HEALTHY,
    draw_weighted,
    drawn_repeats,
    highest_stand_out,
    repeat_factors,
    strata_of,
    stratum_weights,
)


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
        labels, scores = context.of_candidates(context.known_labels()), context.image_scores()
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


@POLICIES.register("auto")
class Auto(Policy):
    """Chooses by the labels: everything, balanced, or balanced with the healthy images drawn by loss.

    Where half of the images or none hold a defect, there is nothing to leave out. Where there are fewer
    healthy images than `choice` for each defective one, blind draws see each of them often enough, and losses
    add nothing measurable. Else the healthy ones are drawn by loss, the steeper the more there are to choose
    from, as long as some stand out. choice: at least 1. It looks at training labels and losses alone.
    """

    needs_scores = True
    warms_up = False
    STANDS_OUT = 3.0

    def __init__(self, choice: float = 20.0):
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
