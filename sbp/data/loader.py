"""Batches of an epoch's images, in the order of its plan."""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sbp.data.augmentation import Augmentation
from sbp.data.dataset import Split
from sbp.data.tiles import TrainingTiles
from sbp.errors import UserError
from sbp.seeding import Purpose, generator


@dataclass(frozen=True)
class Batch:
    """images (B, H, W, C) and masks (B, H, W, D) uint8 on the CPU, and the numbers (B,) of the images, or of
    tiles where those are selected; those of the whole batch where images and masks are one process's share
    of it."""

    images: Tensor
    masks: Tensor
    indices: np.ndarray


class AugmentedImages(Dataset):
    """Augmented training images, or tiles of them, fetched by (epoch, index, copy), a batch at a time.

    share: the part of each batch that is wanted here.
    """

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        tiles: TrainingTiles | None = None,
        share: slice = slice(None),
    ):
        self.split, self.augmentation, self.tiles, self.share = split, augmentation, tiles, share

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, keys: list[tuple[int, int, int]]) -> Batch:
        mine = keys[self.share]
        pairs = [self._pair(*key) for key in mine or keys[:1]]
        images, masks = (
            torch.from_numpy(np.stack(arrays)[: len(mine)]) for arrays in zip(*pairs, strict=True)
        )
        return Batch(images, masks, np.array([self._number(index, copy) for _, index, copy in keys]))

    def _number(self, index: int, copy: int) -> int:
        if self.tiles is None or not self.tiles.by_tile:
            return index
        return index * len(self.tiles) + copy % len(self.tiles)

    def _pair(self, epoch: int, index: int, copy: int) -> tuple[np.ndarray, np.ndarray]:
        image, masks = self.split.images[index], self.split.masks[index]
        if self.tiles is not None:
            if self.tiles.by_tile and self.split.labels[index].any():
                place = self.tiles.place_alike(masks, epoch, index, copy)
            else:
                place = self.tiles.place(epoch, index, copy)
            image, masks = self.tiles.cut(image, place), self.tiles.cut(masks, place)
        return self.augmentation(image, masks, epoch, index, copy)


class EpochBatchSampler:
    """The batch sampler: set `plan` before each epoch. The last batch may be smaller.

    A last batch of one image joins the one before it, and the only image of an epoch comes twice, each
    time augmented anew: BatchNorm cannot train on a single value per channel, which deep layers shrink a
    small image down to. With tiles, every image comes once per tile, and the tiles of all images are mixed,
    unless a plan is of single tiles already.
    """

    def __init__(self, batch_size: int, tiles: TrainingTiles | None = None):
        self.batch_size, self.tiles = batch_size, tiles
        self.epoch, self.indices, self.skip = 0, np.empty(0, dtype=np.int64), 0

    def plan(self, epoch: int, indices: np.ndarray, skip: int = 0) -> None:
        """Use `indices`, in this order (with tiles: mixed), for `epoch`, without its first `skip` batches."""
        self.skip = skip
        if self.tiles is not None and len(self.tiles) > 1 and not self.tiles.by_tile:
            rng = generator(self.tiles.seed, Purpose.TILE_ORDER, epoch)
            indices = rng.permutation(np.repeat(indices, len(self.tiles)))
        self.epoch, self.indices = epoch, np.repeat(indices, 2) if len(indices) == 1 else indices

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and last-plus-one position of each batch."""
        n = len(self.indices)
        starts = list(range(0, n, self.batch_size))
        if len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        return list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        """Batches of the epoch, those skipped included."""
        return len(self.bounds)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        images, copies = self.indices, repetitions(self.indices)
        if self.tiles is not None and self.tiles.by_tile:
            # an image's copy number k is of its tile k modulo T
            images, tiles = np.divmod(self.indices, len(self.tiles))
            copies = copies * len(self.tiles) + tiles
        for start, stop in self.bounds[self.skip :]:
            pairs = zip(images[start:stop].tolist(), copies[start:stop].tolist(), strict=True)
            yield [(self.epoch, image, copy) for image, copy in pairs]


def repetitions(numbers: np.ndarray) -> np.ndarray:
    """(n,) int, how often each of `numbers` (n,) came before."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    result = np.empty(len(numbers), dtype=np.int64)
    result[order] = np.arange(len(numbers)) - np.searchsorted(ordered, ordered)
    return result


class TrainLoader:
    """Augmented batches of the planned images; results do not depend on the number of workers.

    workers: processes that prepare batches beside training; None: one where that is work, for images that
    are read from their files or go through several transforms, else none. tiles: train on these tiles of each
    image instead of on the whole; batch_size counts tiles then. share: this process's part of each batch.
    """

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        batch_size: int,
        workers: int | None = 0,
        tiles: TrainingTiles | None = None,
        share: slice = slice(None),
    ):
        if workers is None:
            workers = int(split.is_streamed or augmentation.steps > 1)
        self.batches = EpochBatchSampler(batch_size, tiles)
        self.tiles_per_image = 1 if tiles is None else len(tiles)
        self.loader = DataLoader(
            AugmentedImages(split, augmentation, tiles, share),
            batch_sampler=self.batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_as_is,
            generator=torch.Generator(),  # or it draws from the global one, and dropout would feel a restart
        )

    def epoch(self, epoch: int, indices: np.ndarray, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of `indices` (n,), in this order, augmented for `epoch`; the first `skip` of them
        were had before."""
        self.batches.plan(epoch, indices, skip)
        return iter(self.loader)


@contextlib.contextmanager
def loader_errors_in_one_line() -> Iterator[None]:
    """Raise UserError, as the loader would without worker processes, for what went wrong in one of them."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).strip().splitlines()[-1].removeprefix("sbp.errors.UserError: ")) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"{str(error).splitlines()[0]}: a process that loads images is gone, for want of memory perhaps; "
            "resume the run with if_exists=resume, or set trainer.workers=0"
        ) from None


def _as_is(batch: Any) -> Any:
    return batch


def plain_batches(split: Split, indices: np.ndarray, batch_size: int) -> Iterator[Batch]:
    """The images as they are, without augmentation, for scoring and evaluation. Images that are read from
    their files are read a batch ahead, beside the model's work."""
    parts = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    if split.is_streamed:
        yield from _read_ahead(split, parts)
    else:
        yield from (_plain(split, part) for part in parts)


def _plain(split: Split, indices: np.ndarray) -> Batch:
    return Batch(torch.from_numpy(split.images[indices]), torch.from_numpy(split.masks[indices]), indices)


def _read_ahead(split: Split, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
    coming = deque[Future[Batch]]()
    with ThreadPoolExecutor(1) as pool:  # one thread: what keeps the last samples is not for several
        for part in parts:
            coming.append(pool.submit(_plain, split, part))
            if len(coming) > 1:
                yield coming.popleft().result()
        yield from (batch.result() for batch in coming)
