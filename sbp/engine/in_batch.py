"""What becomes of a batch before it is trained on: all of it, or what a policy chooses of it."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from sbp.data.loader import Batch
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.engine.ranks import ALONE, Ranks
from sbp.seeding import Purpose, generator
from sbp.selection.aggregation import Mean
from sbp.selection.in_batch import InBatch

MEAN = Mean()


class BatchChoice(Protocol):
    """Takes each batch of the loader before the training step."""

    def __call__(self, batch: Batch, epoch: int, step: int, progress: float) -> tuple[Batch, int]:
        """The batch to train on, and of how many images the forward pass was computed for that. step: number
        of the batch in its epoch. progress: share of the run's budget that is used."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it remembers of the batches before; empty for nothing."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from such a state."""
        ...


class WholeBatches:
    """Every image of every batch."""

    def __call__(self, batch: Batch, epoch: int, step: int, progress: float) -> tuple[Batch, int]:
        return batch, 0

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


@runtime_checkable
class Remembers(Protocol):
    """A policy that chooses by more than the batch at hand."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Plain arrays."""
        ...

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from there."""
        ...


class ChosenImages:
    """The images that a policy chooses by their losses, right before the step.

    Losses are means over pixels and defects. They are computed as the step sees the images, augmented and at
    full size, but in eval mode, so that BatchNorm's statistics move once. ranks: share the batch; all of them
    choose the same. whole: so many epochs at the start train on everything.
    """

    def __init__(
        self,
        policy: InBatch,
        model: nn.Module,
        loss: SegmentationLoss,
        compute: Compute,
        precision: str = "fp32",
        seed: int = 0,
        ranks: Ranks = ALONE,
        whole: int = 0,
    ):
        self.policy, self.model, self.loss, self.compute = policy, model, loss, compute
        self.precision, self.seed, self.ranks, self.whole = precision, seed, ranks, whole

    def __call__(self, batch: Batch, epoch: int, step: int, progress: float) -> tuple[Batch, int]:
        if epoch < self.whole or not self.policy.chooses(step, progress):
            return batch, 0
        losses = self.ranks.together(self._losses(batch))
        rng = generator(self.seed, Purpose.IN_BATCH, epoch, step)
        chosen = np.sort(self.policy.choose(losses, rng))
        here = np.flatnonzero(np.isin(np.arange(len(losses))[self.ranks.share], chosen))
        return Batch(batch.images[here], batch.masks[here], batch.indices[chosen]), len(losses)

    def state_dict(self) -> dict[str, Tensor]:
        if not isinstance(self.policy, Remembers):
            return {}
        return {key: torch.from_numpy(values) for key, values in self.policy.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if isinstance(self.policy, Remembers):
            self.policy.load_state_dict({key: values.numpy() for key, values in state.items()})

    def _losses(self, batch: Batch) -> np.ndarray:
        """(b,) of the images that are here."""
        if not len(batch.images):
            return np.empty(0, dtype=np.float32)
        target, valid = self.compute.targets(batch.masks)
        with evaluating(self.model):
            with self.compute.autocast(self.precision):
                logits = self.model(self.compute.inputs(batch.images))
            losses = MEAN(self.loss.loss_map(logits.float(), target), target, valid).mean(dim=1)
        return losses.cpu().numpy()
