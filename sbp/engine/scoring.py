"""The scoring pass: a loss map per image, aggregated to scores. Changes nothing about the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.data.tiles import TileGrid
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.engine.tiling import cut_into_tiles
from sbp.seeding import Purpose, stream
from sbp.selection import Aggregation


@dataclass(frozen=True)
class LossMaps:
    """What the model makes of some images or tiles: probabilities and losses, (n, D, H, W) float32 on the
    CPU."""

    probabilities: np.ndarray
    losses: np.ndarray


class Scorer:
    """Scores images with the current weights: eval mode, no gradient, no augmentation.

    aggregations: the first is the selection's own, and its transform decides what is scored; all are computed
    from one loss map. scale_factor: score at a lower resolution, in (0, 1]; max-pooled targets, so that no
    thin defect vanishes. Weights, BatchNorm statistics and torch's random state are left as they were; the
    transform draws from a generator of its own, seeded per epoch. grid: images are scored whole, and their
    loss map is cut into these tiles, each of which has a score of its own. Raises ValueError for several
    aggregations of which one moves the image: the others would be recorded for images that they never saw.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: SegmentationLoss,
        aggregations: Sequence[Aggregation],
        compute: Compute,
        batch_size: int,
        precision: str = "fp32",
        scale_factor: float = 1.0,
        seed: int = 0,
        grid: TileGrid | None = None,
    ):
        self.model, self.loss, self.compute = model, loss, compute
        self.aggregations = list(aggregations)
        self.batch_size, self.precision, self.scale_factor = batch_size, precision, scale_factor
        self.seed, self.grid = seed, grid
        if len(self.aggregations) > 1 and any(a.moves_image for a in self.aggregations):
            raise ValueError(f"aggregations {', '.join(self.schemes)}: one that moves the image stands alone")

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names of the aggregations, in the order of the first axis of the scores."""
        return tuple(a.name for a in self.aggregations)

    def score(
        self, split: Split, indices: np.ndarray, epoch: int, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Scores (S, n, D) float32 of the images `indices` (n,), by scheme and defect; with a grid
        (S, n * T, D), those of all T tiles of an image one after the other."""
        sequence = stream(self.seed, Purpose.SCORING, epoch)
        generator = torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
        parts = []
        with evaluating(self.model):
            for batch in plain_batches(split, indices, self.batch_size):
                target, valid = self.compute.targets(batch.masks)
                parts.append(self._score_batch(self.compute.inputs(batch.images), target, valid, generator))
                if progress:
                    progress(len(batch.indices))
        if not parts:
            return np.empty((len(self.aggregations), 0, split.masks.shape[-1]), dtype=np.float32)
        return torch.cat(parts, dim=1).cpu().numpy()

    def _score_batch(
        self, images: Tensor, target: Tensor, valid: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        images, target, valid = self._transform(images, target, valid, generator)
        if self.scale_factor != 1.0:
            images, target, valid = self._rescale(images, target, valid)
        with self.compute.autocast(self.precision):
            logits = self.model(images.contiguous(memory_format=self.compute.memory_format))
        loss_map = self.loss.loss_map(logits.float(), target)
        if self.grid is not None:
            loss_map, target = (cut_into_tiles(maps, self.grid) for maps in (loss_map, target))
            valid = None if valid is None else cut_into_tiles(valid, self.grid)
        return aggregate_all(self.aggregations, loss_map, target, valid)

    def _transform(self, images: Tensor, target: Tensor, known: Tensor | None, generator: torch.Generator):
        transform = self.aggregations[0].transform
        if known is None:
            return transform(images, target, generator)
        # void pixels move along with the target
        images, both, inside = transform(images, torch.cat([target, known.float()], dim=1), generator)
        target, known = both[:, : known.shape[1]], both[:, known.shape[1] :] > 0
        return images, target, known if inside is None else known & inside

    def _rescale(self, images: Tensor, target: Tensor, valid: Tensor | None):
        images = F.interpolate(images, scale_factor=self.scale_factor, mode="bilinear", antialias=True)
        size = images.shape[-2:]
        target = F.adaptive_max_pool2d(target, size)
        if valid is not None:
            valid = -F.adaptive_max_pool2d(-valid.float(), size) > 0
        return images, target, valid

    def loss_maps(self, split: Split, indices: np.ndarray) -> LossMaps:
        """Probabilities and loss maps of a few images at full resolution, for the gallery; with a grid, of
        the tiles `indices` (n,), cut from the maps of their images."""
        if self.grid is not None:
            return self._maps_of_tiles(split, indices, self.grid)
        parts = [(probabilities, losses) for _, probabilities, losses in self._maps(split, indices)]
        probabilities, losses = (torch.cat(maps).numpy() for maps in zip(*parts, strict=True))
        return LossMaps(probabilities, losses)

    def _maps_of_tiles(self, split: Split, tiles: np.ndarray, grid: TileGrid) -> LossMaps:
        order, count = np.argsort(tiles, kind="stable"), len(grid)
        images, shape = tiles[order] // count, (len(tiles), split.masks.shape[-1], grid.side, grid.side)
        found = LossMaps(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))
        for batch, probabilities, losses in self._maps(split, np.unique(images)):
            first, last = np.searchsorted(images, batch[0]), np.searchsorted(images, batch[-1], side="right")
            for n in order[first:last].tolist():
                row, (rows, columns) = np.searchsorted(batch, tiles[n] // count), grid.part(tiles[n] % count)
                found.probabilities[n] = probabilities[row, :, rows, columns]
                found.losses[n] = losses[row, :, rows, columns]
        return found

    def _maps(self, split: Split, indices: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Of each batch of images: their numbers, probabilities and losses, on the CPU."""
        with evaluating(self.model):
            for batch in plain_batches(split, indices, self.batch_size):
                with self.compute.autocast(self.precision):
                    logits = self.model(self.compute.inputs(batch.images))
                logits = logits.float()
                target, valid = self.compute.targets(batch.masks)
                loss_map = self.loss.loss_map(logits, target)
                known = loss_map if valid is None else loss_map * valid
                yield batch.indices, logits.sigmoid().cpu(), known.cpu()


def aggregate_all(
    aggregations: Sequence[Aggregation], loss_map: Tensor, target: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Scores (S, B, D) of one batch's loss map (B, D, H, W), one row per aggregation."""
    return torch.stack([aggregation(loss_map, target, valid) for aggregation in aggregations])
