"""Annotations of a defect in an image, and how they become a mask: mask files, run lengths, polygons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import cv2
import numpy as np

from sbp.data.disk.decode import read_mask
from sbp.errors import UserError

Shape = tuple[int, int]
FINE = 8
"""Polygons are drawn at this many times the resolution."""


@dataclass(frozen=True)
class MaskFile:
    """A mask as an image. value: the grey value or palette index that means this defect; None: any value
    above `threshold`. known: with a value, all that may occur beside 0. soft: values below the threshold are
    noise and no mistake; healthy: the image is labelled as healthy, its mask must be empty."""

    path: Path
    value: int | None = None
    threshold: int = 127
    known: tuple[int, ...] = ()
    soft: bool = False
    healthy: bool = False

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError if it cannot be read, is not as large as its image, or holds values
        that mean nothing."""
        pixels = read_mask(self.path)
        if pixels.shape != shape:
            raise UserError(
                f"{self.path}: the mask has {_size(pixels.shape)} pixels, its image {_size(shape)}; both "
                "must have the same size"
            )
        if self.value is not None:
            strange = set(np.unique(pixels).tolist()) - {0, *self.known}
            if self.known and strange:
                known = ", ".join(map(str, self.known))
                raise UserError(
                    f"{self.path}: has the value {min(strange)}; data.values knows {known}, and 0 for none"
                )
            return pixels == self.value
        mask, highest = pixels > self.threshold, int(pixels.max())
        if self.healthy and mask.any():
            raise UserError(f"{self.path}: annotates a defect in a healthy image")
        if highest and not self.soft and not mask.any():
            raise UserError(
                f"{self.path}: has values up to {highest}, a mask's defect lies above data.threshold="
                f"{self.threshold}; save it as 0 and 255, or set data.threshold"
            )
        return mask

    def is_empty(self) -> bool:
        """Whether no pixel has the defect; reads the file."""
        pixels = read_mask(self.path)
        return not (pixels > self.threshold if self.value is None else pixels == self.value).any()


@dataclass(frozen=True)
class RunLengths:
    """Pairs "start length start length", starts from 1, along columns (Severstal). where: for messages."""

    runs: str
    where: str
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError for numbers that do not fit."""
        try:
            numbers = np.array([int(n) for n in self.runs.split()], dtype=np.int64)
        except (ValueError, OverflowError):
            about = f"run lengths must be whole numbers, not {self.runs[:40]!r}"
            raise UserError(f"{self.where}: {about}") from None
        if len(numbers) % 2:
            raise UserError(f"{self.where}: run lengths must be pairs, here are {len(numbers)} numbers")
        starts, lengths = numbers[::2] - 1, numbers[1::2]
        flat = np.zeros(shape[0] * shape[1], dtype=bool)
        if len(numbers) and (starts.min() < 0 or lengths.min() < 1 or (starts > flat.size - lengths).any()):
            raise UserError(
                f"{self.where}: a run lies outside of the image, which has {flat.size} pixels; starts count "
                "from 1, along columns"
            )
        for start, length in zip(starts, lengths, strict=True):
            flat[start : start + length] = True
        return flat.reshape(shape, order="F")

    def is_empty(self) -> bool:
        """Whether there is no run."""
        return not self.runs.strip()


@dataclass(frozen=True)
class Polygons:
    """Closed outlines, each x0, y0, x1, y1, ... in pixels, as COCO has them. size: (H, W) of the image that
    they were drawn on, None if nobody says it."""

    outlines: tuple[tuple[float, ...], ...]
    where: str
    size: Shape | None = None
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool: pixels of which an outline covers half or more; of a thinner one the pixels that it
        covers most, so that none vanishes. Raises UserError for an outline of fewer than three points, and
        for an image of another size."""
        if self.size is not None and self.size != shape:
            drawn_on = f"was drawn on an image of {_size(self.size)} pixels"
            raise UserError(f"{self.where}: {drawn_on}, the file has {_size(shape)}")
        drawn = np.zeros(shape, dtype=bool)
        for outline in self.outlines:
            if len(outline) < 6 or len(outline) % 2:
                raise UserError(f"{self.where}: a polygon needs x and y of three or more points")
            points = np.asarray(outline, dtype=np.float64).reshape(-1, 2)
            left, top = np.floor(points.min(axis=0)).astype(int).clip(0)
            right, bottom = np.ceil(points.max(axis=0)).astype(int).clip(None, [shape[1], shape[0]])
            if left >= right or top >= bottom:
                raise UserError(f"{self.where}: a polygon lies outside of the image or has no area")
            drawn[top:bottom, left:right] |= _covered(points - [left, top], bottom - top, right - left)
        return drawn

    def is_empty(self) -> bool:
        """Whether there is no outline."""
        return not self.outlines


@dataclass(frozen=True)
class CocoRuns:
    """COCO's run lengths: counts of pixels without and with the defect in turns, along columns, as a list
    or in COCO's text form; size: (H, W)."""

    counts: str | tuple[int, ...]
    size: Shape
    where: str
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError if the counts do not add up to the image."""
        if tuple(self.size) != shape:
            raise UserError(f"{self.where}: size {_size(self.size)}, but the image has {_size(shape)} pixels")
        counts = self._runs()
        if min(counts, default=0) < 0:
            raise UserError(f"{self.where}: a run length is below 0")
        if (total := sum(counts)) != (size := shape[0] * shape[1]):
            raise UserError(f"{self.where}: run lengths add up to {total} pixels, the image has {size}")
        return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape, order="F")

    def is_empty(self) -> bool:
        """Whether no run has the defect."""
        return not any(self._runs()[1::2])

    def _runs(self) -> Sequence[int]:
        return _counts(self.counts) if isinstance(self.counts, str) else self.counts


def _covered(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool: pixels that the polygon covers by half, or most."""
    fine = np.zeros((height * FINE, width * FINE), dtype=np.uint8)
    # cv2 counts from the centre of the first pixel, COCO from its corner
    cv2.fillPoly(fine, [np.round((points * FINE - 0.5) * 16).astype(np.int32)], 1, shift=4)
    coverage = fine.reshape(height, FINE, width, FINE).mean(axis=(1, 3))
    return coverage >= min(0.5, float(coverage.max()))


def _counts(text: str) -> list[int]:
    """COCO's text form: numbers in base 32, five bits a character from 48 up, a sixth bit for "more follow",
    from the third number on as differences to the one before the last (cocoapi, maskApi.c, rleFrString)."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the highest bit is the sign
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return counts


Annotation = MaskFile | RunLengths | Polygons | CocoRuns


def merged_mask(annotations: Sequence[Annotation], shape: Shape) -> np.ndarray:
    """(H, W) bool: the union of the annotations."""
    return reduce(np.logical_or, (a.mask(shape) for a in annotations), np.zeros(shape, dtype=bool))


def _size(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]}"
