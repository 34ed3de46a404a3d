"""Metrics of a split of images that are each of one class: accuracy, error and loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.engine.ranks import ALONE, Ranks
from sbp.metrics import names


@dataclass(frozen=True)
class ClassEvaluator:
    """How a split is measured. classes: K names. ranks: share the images out, each has the metrics of all."""

    classes: Sequence[str]
    loss: SegmentationLoss
    compute: Compute
    batch_size: int
    precision: str = "fp32"
    ranks: Ranks = ALONE

    def evaluate(self, model: nn.Module, split: Split, prefix: str) -> dict[str, float]:
        """`prefix/accuracy`, `prefix/error`, `prefix/loss` in nats, and `prefix/accuracy/<class>`: the share
        of the images of that class that are called so, NaN for one that the split does not hold."""
        count = len(self.classes)
        # of each class: images, those of them that were found, and the sum of their losses
        sums = np.zeros((3, count))
        with evaluating(model):
            for batch in plain_batches(split, np.arange(len(split))[self.ranks.share], self.batch_size):
                target, _ = self.compute.targets(batch.masks)
                with self.compute.autocast(self.precision):
                    logits = model(self.compute.inputs(batch.images))
                losses = self.loss.loss_map(logits.float(), target).sum(dim=(1, 2, 3)).cpu().numpy()
                truth, said = (maps.flatten(1).argmax(dim=1).cpu().numpy() for maps in (target, logits))
                for row, values in zip(sums, (None, truth == said, losses), strict=True):
                    row += np.bincount(truth, weights=values, minlength=count)
        images, right, losses = self.ranks.added_up(sums) if self.ranks.count > 1 else sums
        accuracy = float(right.sum() / images.sum())
        metrics = {"accuracy": accuracy, "error": 1 - accuracy, "loss": float(losses.sum() / images.sum())}
        named = {names.of_split(prefix, name): value for name, value in metrics.items()}
        for name, found, there in zip(self.classes, right, images, strict=True):
            named[names.of_split(prefix, "accuracy", name)] = float(found / there) if there else float("nan")
        return named
