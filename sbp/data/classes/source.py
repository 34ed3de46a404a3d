"""A data set whose images are each of one class, as a Source: masks of one pixel, one-hot over classes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sbp.data.classes.splits import drawn_splits
from sbp.data.disk.content import file_digests
from sbp.data.disk.resize import resized
from sbp.data.source import SPLITS, Sample
from sbp.errors import UserError
from sbp.plugins.checks import at_least, require

READER_VERSION = 1
"""Raised whenever the same files would give other samples."""


@dataclass(kw_only=True)
class ClassSource(ABC):
    """Images by class: `image` (H, W, C) uint8 with masks (1, 1, K) uint8, 1 in the channel of its class.

    defects: the K classes. image_size: side of the square that images are resized to; channels: 1, grey, or
    3. A validation or test split that the set does not come with is drawn from its training images, each
    class in the same share of them, by `seed`: val_fraction and test_fraction, above 0 and together below 1.
    most: so many training images at most, each class in its share; null: all. Raises ValueError for values
    out of range.
    """

    task = "classification"

    image_size: int
    channels: int = 1
    seed: int = 0
    defects: tuple[str, ...] = ()
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    most: int | None = None

    def __post_init__(self) -> None:
        self.defects = tuple(self.defects)
        require(self.channels in (1, 3), "channels", self.channels, "1 (grey) or 3 (colour)")
        at_least(0, seed=self.seed)
        at_least(1, most=self.most)
        require(len(self.defects) != 1, "defects", [*self.defects], "two or more classes")
        for key in ("val_fraction", "test_fraction"):
            require(0 < getattr(self, key) < 1, key, getattr(self, key), "above 0 and below 1")
        allowed = f"below 1 together with test_fraction={self.test_fraction}"
        require(self.val_fraction + self.test_fraction < 1, "val_fraction", self.val_fraction, allowed)

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """What the images come from: their content is part of the set's description. Raises UserError."""

    @abstractmethod
    def labels(self) -> Mapping[str, np.ndarray]:
        """(N,) int, the number of the class of each image, of each split that the set comes with; `train` is
        one of them. Raises UserError."""

    @abstractmethod
    def pixels(self, split: str, number: int) -> np.ndarray:
        """Image `number` of such a split, (h, w) or (h, w, C) uint8 of any size. Raises UserError."""

    def title(self, split: str, number: int) -> str:
        """What such an image is called."""
        return f"{split}_{number:05d}"

    def describe(self) -> dict[str, Any]:
        own = {key: value for key, value in vars(self).items() if key in self._keys and key != "root"}
        return {"reader": READER_VERSION, **own, "content": file_digests(self.files())}

    @property
    def _keys(self) -> set[str]:
        return set(type(self).__dataclass_fields__)

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        known = {split: np.asarray(labels, dtype=np.int64) for split, labels in self.labels().items()}
        for split, labels in known.items():
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.defects):
                raise UserError(
                    f"data.defects: names {len(self.defects)} classes, and the {split} split holds one of "
                    f"number {labels.max()}; must be the names of all"
                )
        return known

    @cached_property
    def members(self) -> dict[str, tuple[str, np.ndarray]]:
        """Of each split: the one of the set that its images come from, and their numbers there."""
        absent = {"val": self.val_fraction, "test": self.test_fraction}
        absent = {split: share for split, share in absent.items() if split not in self._known}
        drawn = drawn_splits(self._known["train"], self.defects, absent, self.seed, self.most)
        there = {split: (split, np.arange(len(labels))) for split, labels in self._known.items()}
        return there | {split: ("train", numbers) for split, numbers in drawn.items()}

    def lengths(self) -> dict[str, int]:
        return {split: len(self.members[split][1]) for split in SPLITS}

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split`. Raises IndexError for one that the split does not have, and UserError."""
        origin, numbers = self.members[split]
        if not 0 <= index < len(numbers):
            raise IndexError(f"image {index} of {split}, which has {len(numbers)}")
        number = int(numbers[index])
        masks = np.zeros((1, 1, len(self.defects)), dtype=np.uint8)
        masks[0, 0, self._known[origin][number]] = 1
        return Sample(self._fitted(self.pixels(origin, number)), masks, None, self.title(origin, number))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        if image.ndim == 3 and self.channels == 1:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        elif image.ndim == 2 and self.channels == 3:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        if image.shape[:2] != (self.image_size, self.image_size):
            image = resized(image, self.image_size, self.image_size)
        return image.reshape(self.image_size, self.image_size, self.channels)
