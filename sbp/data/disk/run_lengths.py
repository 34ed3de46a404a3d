"""Run lengths as masks: Severstal's pairs and COCO's counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.data.disk.claims import Claims, extent_of
from sbp.data.disk.shapes import Shape, size_text
from sbp.errors import UserError


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
class CocoRuns:
    """COCO's run lengths: counts of pixels without and with the defect in turns, along columns, as a list
    or in COCO's text form; size: (H, W); said: what the file says of them beside."""

    counts: str | tuple[int, ...]
    size: Shape
    where: str
    said: Claims | None = None
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError if the counts do not add up to the image, and if the file's own box
        lies elsewhere."""
        if tuple(self.size) != shape:
            raise UserError(
                f"{self.where}: size {size_text(self.size)}, but the image has {size_text(shape)} pixels"
            )
        counts = self._runs()
        if min(counts, default=0) < 0:
            raise UserError(f"{self.where}: a run length is below 0")
        if (total := sum(counts)) != (size := shape[0] * shape[1]):
            raise UserError(f"{self.where}: run lengths add up to {total} pixels, the image has {size}")
        mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape, order="F")
        if self.said is not None and (extent := extent_of(mask)):
            self.said.expect_near(extent, self.where)
        return mask

    def is_empty(self) -> bool:
        """Whether no run has the defect."""
        return not any(self._runs()[1::2])

    def _runs(self) -> Sequence[int]:
        return _counts(self.counts) if isinstance(self.counts, str) else self.counts


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
