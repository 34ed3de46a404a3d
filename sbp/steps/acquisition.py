"""Which of the images that are not annotated come next: rules by what a model says of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sbp.data.dataset import Split
from sbp.data.source import VOID
from sbp.mine.choose import ranking, strata_of, stratified_ranking
from sbp.mine.scores import (
    AGGREGATIONS,
    ENTROPY,
    EXPECTED,
    HEALTHY_LOSS,
    HIGHEST,
    SURELY,
    names_of,
    scores_of,
)
from sbp.predict import predict_images, restore


@dataclass(frozen=True)
class Pool:
    """The images `numbers` (n,) of a split, as the model of `checkpoint` sees them."""

    checkpoint: Path
    split: Split
    numbers: np.ndarray
    device: str = "cpu"

    def column(self, score: str) -> np.ndarray:
        """(n, D) of a score of sbp.mine.scores, as `entropy/max`."""
        defects, columns = self._scores
        return np.stack([columns[f"{score}/{defect}"] for defect in defects], axis=1)

    @cached_property
    def _scores(self) -> tuple[list[str], dict[str, np.ndarray]]:
        model, compute, checkpoint, config = restore(self.checkpoint, self.device)
        parts = [
            scores_of(torch.from_numpy(p)).numpy()
            for _, p in predict_images(model, compute, config, self.split, self.numbers)
        ]
        values = np.concatenate(parts)
        names = names_of(checkpoint.defects, 0)
        return checkpoint.defects, {name: values[:, c] for c, name in enumerate(names)}

    def losses(self, aggregation: str) -> np.ndarray:
        """(n, D) the true loss, which only somebody who has the annotations can know."""
        model, compute, _, config = restore(self.checkpoint, self.device)
        parts = []
        for batch, p in predict_images(model, compute, config, self.split, self.numbers):
            masks = torch.from_numpy(np.asarray(self.split.masks[batch])).permute(0, 3, 1, 2)
            parts.append(AGGREGATIONS[aggregation](*_loss_map(torch.from_numpy(p), masks)).numpy())
        return np.concatenate(parts)


def _loss_map(p: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of p (B, D, H, W) in nats, target, and where masks (B, D, H, W) say something."""
    p, target = p.clamp(SURELY, 1 - SURELY), (masks == 1).float()
    return -target * p.log() - (1 - target) * (1 - p).log(), target, masks != VOID


def acquired(rule: str, pool: Pool, aggregation: str, power: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) positions in the pool, the first to annotate first.

    rule: `entropy` or `healthy_loss`, the highest first, the largest over the defects; `stratified`, the
    entropy with the defects that the model sees taking turns, see `stratified_ranking`, power: how sharply;
    `random`; `foreground_random`, in turns one at random in which the model sees a defect, and any one;
    `oracle`, the highest true loss, which nobody knows who has yet to annotate.
    """
    if rule == "random":
        return rng.permutation(len(pool.numbers))
    if rule == "oracle":
        return ranking(pool.losses(aggregation).max(axis=1))
    if rule == "foreground_random":
        return in_turns(pool.column(EXPECTED).sum(axis=1) > 0, rng)
    score = HEALTHY_LOSS if rule == "healthy_loss" else ENTROPY
    scores = pool.column(f"{score}/{aggregation}").max(axis=1)
    if rule == "stratified":
        return stratified_ranking(scores, strata_of(pool.column(HIGHEST)), power, rng)
    return ranking(scores)


def in_turns(preferred: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) positions in random order, every other one from those preferred (n,) as long as there are some."""
    order = rng.permutation(len(preferred))
    first = order[preferred[order]]
    result: list[int] = []
    taken = np.zeros(len(preferred), dtype=bool)
    chosen, anyone = iter(first.tolist()), iter(order.tolist())
    while len(result) < len(preferred):
        for source in (chosen, anyone):
            position = next((p for p in source if not taken[p]), None)
            if position is not None:
                taken[position] = True
                result.append(position)
    return np.array(result, dtype=np.int64)


def regions_outlined(split: Split, images: np.ndarray) -> int:
    """How many regions an annotator outlines in these images: 8-connected ones of each defect."""
    count = 0
    for image in images:
        for channel in np.moveaxis(np.asarray(split.masks[int(image)]) == 1, -1, 0):
            if channel.any():
                count += (
                    cv2.connectedComponents(np.ascontiguousarray(channel, np.uint8), connectivity=8)[0] - 1
                )
    return count
