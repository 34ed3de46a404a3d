"""How far an epoch is, part by part, each done as a whole and once, also across a restart; its seconds."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sbp.metrics import names


class Stopwatch:
    """Adds up seconds per section. synchronize: empties an accelerator's queue. seconds: those so far."""

    SECTIONS = ("scoring", "monitoring", "data", "training", "validation")

    def __init__(
        self, synchronize: Callable[[], None] = lambda: None, seconds: dict[str, float] | None = None
    ):
        self.synchronize = synchronize
        self.seconds = dict.fromkeys(self.SECTIONS, 0.0) if seconds is None else seconds

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count the time of the block towards `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            # waiting for data must not wait for the step before it, or nothing would overlap
            if name != "data":
                self.synchronize()
            self.seconds[name] += time.perf_counter() - started

    def metrics(self) -> dict[str, float]:
        """Seconds of each section, and of all."""
        sections = {names.seconds(name): seconds for name, seconds in self.seconds.items()}
        return sections | {names.EPOCH_S: sum(self.seconds.values())}


@dataclass
class EpochInProgress:
    """What is known of the current epoch so far; None where that part is still to come.

    scored: number of images scored at the budget's expense, before the draw or beside training. has_scores:
    whether new scores came, be it for the record only. beside: whether what is to be scored beside its
    training has begun. measured: metrics of the callbacks before training. indices: (n,) units (images, or
    selected tiles) to train on, in order, out of num_candidates. weights: (N,) what the loss of each unit of
    the data set counts, None: all of them 1. rate: what the learning rate is multiplied by. used_before:
    share of the budget used before training. losses, trained: of each step so far, its loss and its units
    (B,). forwarded: images so far whose forward pass was computed twice, to choose inside their batch, and
    left_out: units that were not chosen; with tiles of images, parts of them. noted: whether the score book
    knows what was trained on. seconds: see Stopwatch.
    """

    epoch: int
    scored: int | None = None
    has_scores: bool = False
    measured: dict[str, float] | None = None
    indices: np.ndarray | None = None
    num_candidates: int = 0
    weights: np.ndarray | None = None
    rate: float = 1.0
    used_before: float = 0.0
    losses: list[torch.Tensor] = field(default_factory=list)
    trained: list[np.ndarray] = field(default_factory=list)
    forwarded: float = 0.0
    left_out: float = 0.0
    noted: bool = False
    beside: bool = False
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(Stopwatch.SECTIONS, 0.0))

    @property
    def kept_fraction(self) -> float:
        """Share of the candidates that is trained on."""
        assert self.indices is not None
        return (len(self.indices) - self.left_out) / self.num_candidates

    @property
    def kept(self) -> np.ndarray:
        """Numbers of the images that were kept, be it by the draw or in their batch."""
        assert self.indices is not None
        return np.concatenate(self.trained) if self.left_out else self.indices

    def trained_units(self, tiles_per_unit: int) -> np.ndarray:
        """Numbers of the units trained on, each as often as it came as a whole."""
        indices = np.concatenate(self.trained)
        if tiles_per_unit == 1:
            return indices
        units, tiles = np.unique(indices, return_counts=True)
        return np.repeat(units, np.ceil(tiles / tiles_per_unit).astype(int))

    def weights_of(self, units: np.ndarray) -> np.ndarray | None:
        """(B,) what the losses of the units with these numbers (B,) count; None: all of them 1."""
        return None if self.weights is None else self.weights[units]

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        state = dict(vars(self))
        for name in ("indices", "weights"):
            state[name] = None if state[name] is None else torch.from_numpy(state[name])
        state["losses"] = torch.stack(self.losses).cpu() if self.losses else torch.empty(0)
        state["trained"] = [torch.from_numpy(indices) for indices in self.trained]
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "EpochInProgress":
        """The epoch that `state_dict` described."""
        arrays = {k: None if state[k] is None else state[k].numpy() for k in ("indices", "weights")}
        trained = [indices.numpy() for indices in state["trained"]]
        return cls(**{**state, **arrays, "losses": list(state["losses"]), "trained": trained})


def composition(labels: np.ndarray, defects: Sequence[str]) -> dict[str, float]:
    """Shares of images that are healthy, hold one defect alone, or several. labels: (n, D) bool."""
    several = labels.sum(axis=1) > 1
    shares = {
        names.share("healthy"): float((~labels.any(axis=1)).mean()),
        names.share("several"): float(several.mean()),
    }
    for d, defect in enumerate(defects):
        shares[names.share(defect)] = float((labels[:, d] & ~several).mean())
    return shares
