"""Selective backprop as Jiang et al. published it: inside the stream of batches, by a history of losses."""

from collections import deque

import numpy as np

from sbp.plugins.checks import at_least
from sbp.selection.draws import keep_probability
from sbp.selection.in_batch import InBatch
from sbp.selection.policy import POLICIES


@POLICIES.register("jiang")
class Jiang(InBatch):
    """Keep an image of a batch with probability percentile ** beta, its percentile among the last losses.

    Jiang et al., arXiv:1910.00762, and their code: the losses of a batch enter the history of the last
    `history` losses first, then an image's percentile is the share of it that is strictly below the image's
    loss. The epochs of selection.warmup_epochs train on everything, and enter nothing. beta: at least 0;
    history: at least 1. At least two images are kept, those of the highest percentiles, for BatchNorm, or all
    where there are fewer.
    """

    warms_up = True

    def __init__(self, beta: float = 3.0, history: int = 1024):
        at_least(0, beta=beta)
        at_least(1, history=history)
        self.beta, self.losses = beta, deque[float](maxlen=history)

    def chooses(self, step: int, progress: float) -> bool:
        return self.beta > 0

    def choose(self, losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        percentile = self.enter(losses)
        drawn = rng.random(len(losses), dtype=np.float32)
        kept = np.flatnonzero(drawn < keep_probability(percentile, self.beta))
        if len(kept) >= min(2, len(losses)):
            return kept
        highest = np.argsort(-percentile, kind="stable")
        return np.union1d(kept, highest[~np.isin(highest, kept)][: 2 - len(kept)])

    def enter(self, losses: np.ndarray) -> np.ndarray:
        """(B,) float32 percentiles of a batch's losses (B,), which are in the history from now on."""
        self.losses.extend(np.asarray(losses, dtype=np.float32).tolist())
        ordered = np.sort(np.array(self.losses, dtype=np.float32))
        below = np.searchsorted(ordered, np.asarray(losses, dtype=np.float32), side="left")
        return (below / len(ordered)).astype(np.float32)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The history (n,) float32, the oldest loss first: what a restart needs."""
        return {"losses": np.array(self.losses, dtype=np.float32)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state_dict` gave."""
        self.losses.clear()
        self.losses.extend(np.asarray(state["losses"], dtype=np.float32).tolist())
