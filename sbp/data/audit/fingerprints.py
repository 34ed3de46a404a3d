"""What an image looks like, small: for finding the same part photographed twice."""

import hashlib
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 96
"""Side that the set's median image is brought to, and all others by the same factor: the camera's scale."""
SMALL = 0.1
"""Share of an image up to which its defects are left out of its texture: of an image with larger ones, too
little would be left to be recognised by."""
BLOCK = 14
"""Frequencies of the descriptor in each direction."""


class Orientation(NamedTuple):
    """How an image is oriented to be compared: transposed, then flipped upside down, then turned by half."""

    transposed: bool
    flipped: bool
    turned: bool

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W, ...) in that orientation."""
        image = image.swapaxes(0, 1) if self.transposed else image
        image = image[::-1] if self.flipped else image
        return image[::-1, ::-1] if self.turned else image


def exact_hash(image: np.ndarray) -> tuple[str, Orientation]:
    """A digest that is the same for images that are equal pixel by pixel, also after quarter turns and flips,
    and the orientation in which such images are the same. image: (H, W, C) uint8."""
    found = []
    for orientation in map(Orientation._make, product((False, True), repeat=3)):
        turned = orientation.apply(image)
        found.append((hashlib.sha1(str(turned.shape).encode() + turned.tobytes()).hexdigest(), orientation))
    return min(found)


def texture(image: np.ndarray, factor: float, defects: np.ndarray | None = None) -> np.ndarray:
    """(h, w) float32: the image's own fine structure, shrunk by `factor`, without exposure, lighting, lines
    along rows and columns (grinding, seams) and small defects, which other parts share.

    image: (H, W, C); defects: (h, w) bool, where it has any, as `shrunk_mask` gives them.
    """
    grey = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = shrunk_size(grey.shape, factor)
    x = np.log(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) + 8)
    hidden = None
    if defects is not None and defects.any() and defects.mean() <= SMALL:
        hidden = cv2.dilate(defects.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        x = _without(x, hidden)
    x -= cv2.GaussianBlur(x, (0, 0), SIDE / 12)
    x -= x.mean(axis=0, keepdims=True)
    x -= x.mean(axis=1, keepdims=True)
    spread = np.sqrt(cv2.GaussianBlur(x * x, (0, 0), SIDE / 8))
    x = np.clip(x / (spread + 0.25 * spread.mean() + 1e-6), -3, 3)
    if hidden is not None:
        x[hidden] = 0
    return x


def _without(x: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """x (h, w) with hidden pixels replaced by what lies around them: no halo of theirs remains."""
    there, sigma = (~hidden).astype(np.float32), SIDE / 24
    around = cv2.GaussianBlur(x * there, (0, 0), sigma)
    return np.where(hidden, around / np.maximum(cv2.GaussianBlur(there, (0, 0), sigma), 1e-3), x)


def shrunk_size(shape: Sequence[int], factor: float) -> tuple[int, int]:
    """Height and width of the texture of an image of that height and width."""
    height, width = (int(np.clip(round(side * factor), SIDE // 3, 4 * SIDE)) for side in shape[:2])
    return height, width


def shrunk_mask(mask: np.ndarray, factor: float) -> np.ndarray:
    """(h, w) bool, as large as the texture: where any pixel of the mask (H, W) bool is set."""
    height, width = shrunk_size(mask.shape, factor)
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0


def spectrum(texture: np.ndarray) -> np.ndarray:
    """(2 * BLOCK + 1, 2 * BLOCK + 1) float32: low frequencies of the texture's centre, without phase, so that
    a shifted image has nearly the same; also the same after half a turn."""
    (height, width), s = texture.shape, SIDE
    top, left = max(0, (height - s) // 2), max(0, (width - s) // 2)
    part = texture[top : top + s, left : left + s]
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in part.shape))
    canvas = np.zeros((s, s), np.float32)
    canvas[: part.shape[0], : part.shape[1]] = part * window
    shifted = np.fft.fftshift(np.abs(np.fft.fft2(canvas)))
    c = s // 2
    return np.log1p(shifted[c - BLOCK : c + BLOCK + 1, c - BLOCK : c + BLOCK + 1]).astype(np.float32)
