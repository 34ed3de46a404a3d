"""What a data set must offer: lengths, samples, and a description that identifies its content."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sbp.plugins.registry import Registry

SPLITS = ("train", "val", "test")
VOID = 255
"""In a mask: a pixel of which nobody says what it shows. It counts neither for loss, score nor metrics."""


def defects_held(masks: np.ndarray) -> np.ndarray:
    """(D,) bool, which defects masks (H, W, D) hold."""
    return (masks == 1).any(axis=(0, 1))


@dataclass(frozen=True)
class Sample:
    """One image with its annotation.

    image: (H, W, C) uint8. masks: (H, W, D) uint8 in {0, 1, VOID}, the annotations that training sees, one
    channel per defect. clean_masks: the same without annotation errors, where they are known
    (synthetic data). kind: what the image holds beside defects, for example "fibre" for a healthy
    look-alike; empty for an ordinary image. note: what a user should know of how it was read.
    """

    image: np.ndarray
    masks: np.ndarray
    clean_masks: np.ndarray | None
    name: str
    kind: str = ""
    note: str = ""

    @property
    def labels(self) -> np.ndarray:
        """(D,) bool, which defects the annotation holds."""
        return defects_held(self.masks)

    def arrays(self) -> dict[str, np.ndarray]:
        """Those of image, masks and clean_masks that are known, by what they are called in a Split."""
        known = {"images": self.image, "masks": self.masks, "clean_masks": self.clean_masks}
        return {name: array for name, array in known.items() if array is not None}


class Source(Protocol):
    """A data set before it is cached: images of one size, numbered from 0 within each split.

    A class that is registered in SOURCES is an option of the config group `data`, for images that are
    generated or come from anywhere but files. Its constructor's parameters are the option's keys; it may take
    the keys that every data set has, image_size, channels, seed and defects, by naming them. It raises
    ValueError("KEY=VALUE: must be ...") for one out of range, and is cheap: it is also called to check them.
    """

    name: str = ""
    defects: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Everything that determines the content, as JSON values: the key of the cache on disk."""
        ...

    def lengths(self) -> dict[str, int]:
        """Number of images of each split in SPLITS."""
        ...

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split`; the same call always gives the same sample."""
        ...


SOURCES: Registry[Source] = Registry("data")
"""Data sets that are no files by their name in the config group `data`."""
