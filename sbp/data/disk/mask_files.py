"""Masks as images: one value or colour per defect, or one file per defect."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sbp.data.disk.decode import read_colours, read_mask
from sbp.data.disk.shapes import Shape, expect_drawn_on, size_text
from sbp.errors import UserError


@dataclass(frozen=True)
class _FileOfMask(ABC):
    """A file of pixels, some of which mean the defect."""

    path: Path

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError if it cannot be read, is not as large as its image, or holds values
        or colours that mean nothing."""
        mask = self._selected()
        _expect_size(self.path, mask, shape)
        return mask

    def is_empty(self) -> bool:
        """Whether no pixel has the defect; reads the file, and raises UserError as `mask`."""
        return not self._selected().any()

    @abstractmethod
    def _selected(self) -> np.ndarray:
        """The mask at the file's own size."""


@dataclass(frozen=True)
class MaskFile(_FileOfMask):
    """A mask as an image. value: the grey value or palette index that means this defect; None: any value
    above `threshold`. known: with a value, all that may occur beside 0. void: the value of pixels of which
    nobody says what they show. soft: values below the threshold are noise and no mistake; healthy: the image
    is labelled as healthy, its mask must be empty."""

    value: int | None = None
    threshold: int = 127
    known: tuple[int, ...] = ()
    void: int | None = None
    soft: bool = False
    healthy: bool = False

    def _selected(self) -> np.ndarray:
        pixels = read_mask(self.path)
        if self.value is not None:
            strange = set(np.unique(pixels).tolist()) - {0, self.void, *self.known}
            if self.known and strange:
                known = ", ".join(map(str, self.known))
                raise UserError(
                    f"{self.path}: has the value {min(strange)}; data.values knows {known}, and 0 for none"
                    f"{'' if self.void is not None else '; data.void says which value does not count'}"
                )
            return pixels == self.value
        pixels = _without_void(pixels, self.void)
        mask, highest = pixels > self.threshold, int(pixels.max())
        if self.healthy and mask.any():
            raise UserError(f"{self.path}: annotates a defect in a healthy image")
        if highest and not self.soft and not mask.any():
            raise UserError(
                f"{self.path}: has values up to {highest}, a mask's defect lies above data.threshold="
                f"{self.threshold}; save it as 0 and 255, or set data.threshold"
            )
        return mask


@dataclass(frozen=True)
class ColourMask(_FileOfMask):
    """A mask as a colour image. colour: 0xRRGGBB of this defect; known: colours that may occur, with those of
    the background."""

    colour: int
    known: tuple[int, ...]

    def _selected(self) -> np.ndarray:
        pixels = read_colours(self.path)
        if strange := set(np.unique(pixels).tolist()) - set(self.known):
            known = ", ".join(map(colour_text, dict.fromkeys(self.known)))
            raise UserError(
                f"{self.path}: has the colour {colour_text(min(strange))}; known are {known} "
                "(data.colours, data.void, or the label map)"
            )
        return pixels == self.colour


@dataclass(frozen=True)
class CroppedMask:
    """A mask of a part of the image, a PNG in memory, with its left top corner at x, y (labelme). size: (H,
    W) of the image that it was drawn on, None if nobody says it."""

    png: bytes
    corner: tuple[float, float]
    where: str
    size: Shape | None = None
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool. Raises UserError if it is no PNG, or does not lie in the image."""
        expect_drawn_on(self.size, shape, self.where)
        part = self._part()
        left, top = (round(value) for value in self.corner)
        if min(left, top) < 0 or top + part.shape[0] > shape[0] or left + part.shape[1] > shape[1]:
            raise UserError(
                f"{self.where}: the mask of {size_text(part.shape)} pixels at ({left}, {top}) lies outside "
                f"of the image of {size_text(shape)}"
            )
        mask = np.zeros(shape, dtype=bool)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask

    def is_empty(self) -> bool:
        """Whether no pixel has the defect."""
        return not self._part().any()

    def _part(self) -> np.ndarray:
        part = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_GRAYSCALE) if self.png else None
        if part is None:
            raise UserError(f"{self.where}: the mask is no PNG image")
        return part > 0


def colour_text(colour: int) -> str:
    """As #rrggbb."""
    return f"#{colour:06x}"


def _expect_size(path: Path, pixels: np.ndarray, shape: Shape) -> None:
    if pixels.shape != shape:
        raise UserError(
            f"{path}: the mask has {size_text(pixels.shape)} pixels, its image {size_text(shape)}; both must "
            "have the same size"
        )


def _without_void(pixels: np.ndarray, void: int | None) -> np.ndarray:
    return pixels if void is None else np.where(pixels == void, 0, pixels)
