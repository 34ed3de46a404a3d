"""How far an epoch is: its parts are done one by one, each as a whole and once, also across a restart."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sbp.engine.stopwatch import Stopwatch


@dataclass
class EpochInProgress:
    """What is known of the current epoch so far; None where that part is still to come.

    scored: number of images scored. monitored: whether everything was scored for the record. probed: metrics
    of the gradient probe. indices: (n,) images to train on, in order, out of num_candidates. used_before:
    share of the budget used before training. losses, trained: of each step so far, its loss and its images
    (B,). noted: whether the score book knows what was trained on. seconds: see Stopwatch.
    """

    epoch: int
    scored: int | None = None
    monitored: bool | None = None
    probed: dict[str, float] | None = None
    indices: np.ndarray | None = None
    num_candidates: int = 0
    used_before: float = 0.0
    losses: list[torch.Tensor] = field(default_factory=list)
    trained: list[np.ndarray] = field(default_factory=list)
    noted: bool = False
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(Stopwatch.SECTIONS, 0.0))

    @property
    def kept_fraction(self) -> float:
        """Share of the candidates that is trained on."""
        assert self.indices is not None
        return len(self.indices) / self.num_candidates

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        state = dict(vars(self))
        state["indices"] = None if self.indices is None else torch.from_numpy(self.indices)
        state["losses"] = torch.stack(self.losses).cpu() if self.losses else torch.empty(0)
        state["trained"] = [torch.from_numpy(indices) for indices in self.trained]
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "EpochInProgress":
        """The epoch that `state_dict` described."""
        indices = None if state["indices"] is None else state["indices"].numpy()
        trained = [indices.numpy() for indices in state["trained"]]
        return cls(**{**state, "indices": indices, "losses": list(state["losses"]), "trained": trained})
