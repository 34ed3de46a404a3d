"""Replay: all images of what is new, and some old ones, so that those are not forgotten."""

import math

import numpy as np

from sbp.plugins.checks import at_least
from sbp.selection.policy import POLICIES, Policy, SelectionContext


@POLICIES.register("replay")
class Replay(Policy):
    """All candidates with a focused defect, the new ones, and random others, the old ones; no scoring.

    old_ratio: old candidates an epoch, per new one, at least 0; null: sqrt(old / new), so that a few new
    images neither drown in many old ones nor drown them (Intel's OTX, for class-incremental training).
    Without any new candidate, all are trained on.
    """

    warms_up = False

    def __init__(self, old_ratio: float | None = None):
        at_least(0, old_ratio=old_ratio)
        self.old_ratio = old_ratio

    def select(self, context: SelectionContext, rng: np.random.Generator) -> np.ndarray:
        labels = context.of_candidates(context.known_labels())
        is_new = np.any(labels[:, list(context.focus)], axis=1)
        new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
        if not len(new):
            return old
        ratio = math.sqrt(len(old) / len(new)) if self.old_ratio is None else self.old_ratio
        wanted = min(round(ratio * len(new)), len(old))
        return np.concatenate([new, rng.choice(old, size=wanted, replace=False)])
