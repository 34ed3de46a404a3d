"""Gradients of high-loss, random and low-loss images beside the whole batch's (Jiang et al. 2019)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.engine.callbacks import Callback
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.metrics.similarity import cosine, equal_signs
from sbp.seeding import Purpose, generator
from sbp.selection import Aggregation

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer

Gradients = list[Tensor]

# Top-level modules of a segmentation_models_pytorch model, and what a group of layers is called.
GROUPS = {"encoder": "encoder", "decoder": "decoder", "segmentation_head": "head", "head": "head"}


class GradientProbe(Callback):
    """Measures how much the gradient of a part of a batch resembles that of the whole (arXiv:1910.00762),
    every `every` epochs before training.

    batch: images drawn without replacement; fraction: share of them in each subsample, in (0, 0.5];
    repeats: draws that are averaged. The model is in eval mode, so that BatchNorm uses its running
    statistics and the batch's gradient is the mean of its images' gradients (for losses that are means
    over images; the Dice term, taken per batch, is taken per chunk here). Nothing about the model, its
    gradients or any random state changes. Memory grows with `chunk`, not with `batch`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: SegmentationLoss,
        aggregation: Aggregation,
        compute: Compute,
        batch: int = 256,
        fraction: float = 1 / 3,
        repeats: int = 2,
        chunk: int = 16,
        seed: int = 0,
        every: int = 1,
    ):
        self.model, self.loss, self.aggregation, self.compute = model, loss, aggregation, compute
        self.batch, self.fraction, self.repeats, self.chunk = batch, fraction, repeats, chunk
        self.seed, self.every = seed, every
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        self.groups = {"whole": list(range(len(named)))}
        for prefix, group in GROUPS.items():
            members = [i for i, (name, _) in enumerate(named) if name.startswith(prefix + ".")]
            if members:
                self.groups[group] = members

    def before_training(self, trainer: "Trainer") -> Mapping[str, float]:
        if trainer.epoch % self.every:
            return {}
        return self.measure(trainer.data.train, trainer.epoch)

    def measure(self, split: Split, epoch: int) -> dict[str, float]:
        """`gradients/<cosine|sign>/<high|random|low>/<group>` against the full batch, and
        `gradients/norm/<full|high|random|low>`; groups: whole, encoder, decoder, head."""
        rows = []
        for repeat in range(self.repeats):
            rng = generator(self.seed, Purpose.PROBE, epoch, repeat)
            indices = rng.choice(len(split), min(self.batch, len(split)), replace=False)
            rows.append(self._compare(split, indices, rng))
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def _compare(self, split: Split, indices: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        size = max(1, round(self.fraction * len(indices)))
        ordered = indices[np.argsort(self._scores(split, indices), kind="stable")]
        # low, middle and high add up to the whole: only the random subsample costs a pass of its own
        parts = {"low": ordered[:size], "middle": ordered[size:-size], "high": ordered[-size:]}
        if 2 * size > len(ordered):  # a batch of one image is all three
            sums = dict.fromkeys(parts, self._sum(split, ordered))
            full, weights = sums["high"], len(ordered)
        else:
            sums = {name: self._sum(split, part) for name, part in parts.items()}
            full = [sum(tensors) for tensors in zip(*sums.values(), strict=True)]
            weights = size
        sums["random"] = self._sum(split, rng.choice(indices, size, replace=False))
        means = {name: [g / weights for g in sums[name]] for name in ("high", "random", "low")}
        full = [g / len(indices) for g in full]
        metrics = {"gradients/norm/full": float(torch.linalg.vector_norm(_flat(full)))}
        for name, gradients in means.items():
            metrics[f"gradients/norm/{name}"] = float(torch.linalg.vector_norm(_flat(gradients)))
            for group, members in self.groups.items():
                mine, whole = (_flat([g[i] for i in members]) for g in (gradients, full))
                metrics[f"gradients/cosine/{name}/{group}"] = cosine(mine, whole)
                metrics[f"gradients/sign/{name}/{group}"] = equal_signs(mine, whole)
        return metrics

    def _scores(self, split: Split, indices: np.ndarray) -> np.ndarray:
        """(n,) each image's score as selection would see it, the largest over defects."""
        with evaluating(self.model):
            passes = self._passes(split, indices)
            parts = [self.aggregation(loss_map, *target).amax(dim=1) for loss_map, _, target in passes]
        return torch.cat(parts).cpu().numpy()

    def _sum(self, split: Split, indices: np.ndarray) -> Gradients:
        """The sum of the images' gradients, one tensor per parameter."""
        total = [torch.zeros_like(p) for p in self.parameters]
        with evaluating(self.model, gradients=True):
            for loss_map, logits, target in self._passes(split, indices):
                value = self.loss.reduce(loss_map, logits, *target) * len(logits)
                gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
                for t, g in zip(total, gradients, strict=True):
                    if g is not None:
                        t += g
        return total

    def _passes(
        self, split: Split, indices: np.ndarray
    ) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, Tensor | None]]]:
        """Loss map, logits and target, with which of its pixels count, of each chunk."""
        for batch in plain_batches(split, indices, self.chunk):
            target = self.compute.targets(batch.masks)
            logits = self.model(self.compute.inputs(batch.images)).float()
            yield self.loss.loss_map(logits, target[0]), logits, target


def _flat(gradients: Gradients) -> Tensor:
    return torch.cat([g.reshape(-1) for g in gradients])
