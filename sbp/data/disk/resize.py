"""From images of any size to one size: stretched, or in their own shape with a filled border."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from sbp.data.source import VOID

# Share of a pixel that a defect must cover for the pixel to be annotated after shrinking. Measured on the
# Magnetic Tile set: at 0.5 a crack loses 23 % of its area at 128 pixels and falls into pieces, and 5 of 57
# cracks vanish at 64 pixels; max-pooling keeps everything but makes cracks 1.9 times (128 pixels) to 2.4
# times (64 pixels) as large. At 0.25, what a line of half a pixel covers when it straddles two, cracks stay
# in one piece (0.04 more pieces per image on average) and become 1.3 times as large at 128 pixels.
MIN_COVERAGE = 0.25


class Resizer:
    """Brings images and masks to `height` x `width`. fit: `resize` stretches; `pad` keeps the shape,
    scales it to fit, and fills up with repeated border pixels, where nothing is annotated; `tile` fills up
    too, but does not scale: no image may be larger."""

    def __init__(self, height: int, width: int, fit: str):
        self.height, self.width, self.fit = height, width, fit

    def image(self, image: np.ndarray) -> np.ndarray:
        """(h, w, C) uint8 to (height, width, C) uint8."""
        height, width = self._shape(image.shape)
        # Border pixels, not a mirror image: that would show defects again where none is annotated.
        fitted = self._padded(resized(image, height, width), cv2.BORDER_REPLICATE)
        return fitted.reshape(self.height, self.width, -1)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """(h, w) bool to (height, width) uint8 in {0, 1}; a defect never vanishes."""
        height, width = self._shape(mask.shape)
        coverage = resized(mask.astype(np.float32), height, width)
        # A defect smaller than that keeps the pixel that it covers most.
        held = coverage >= min(MIN_COVERAGE, float(coverage.max())) if mask.any() else coverage > 0
        return self._padded(held.astype(np.uint8), cv2.BORDER_CONSTANT)

    def masks(self, masks: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
        """(h, w, D) bool to (height, width, D) uint8 in {0, 1, VOID}. void: (h, w) bool; a pixel without a
        defect that is void to any part becomes VOID."""
        brought = np.stack([self.mask(masks[:, :, d]) for d in range(masks.shape[2])], axis=2)
        if void is not None and void.any():
            height, width = self._shape(void.shape)
            touched = resized(void.astype(np.float32), height, width) > 0
            unknown = self._padded(touched.astype(np.uint8), cv2.BORDER_CONSTANT)[:, :, None] > 0
            brought[unknown & (brought == 0)] = VOID
        return brought

    def restored(self, values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The way back, for predictions: (height, width, D) float to (h, w, D), shape (h, w) being that of
        the image before `image`."""
        height, width = self._shape(shape)
        top, left = (self.height - height) // 2, (self.width - width) // 2
        part = np.ascontiguousarray(values[top : top + height, left : left + width])
        return cv2.resize(part, (shape[1], shape[0])).reshape(shape[0], shape[1], -1)

    def box_restored(self, box: tuple[int, int, int, int], shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(left, top, width, height) in the sample as the smallest such box in an image of `shape` (h, w)."""
        height, width = self._shape(shape)
        offsets = (self.width - width) // 2, (self.height - height) // 2
        sides = []
        for start, length, offset, scale, full in zip(
            box[:2], box[2:], offsets, (shape[1] / width, shape[0] / height), shape[1::-1], strict=True
        ):
            first = min(max(0, math.floor((start - offset) * scale)), full - 1)
            last = min(full, max(first + 1, math.ceil((start + length - offset) * scale)))
            sides.append((first, last - first))
        (left, across), (top, down) = sides
        return left, top, across, down

    def _shape(self, shape: Sequence[int]) -> tuple[int, int]:
        if self.fit == "resize":
            return self.height, self.width
        if self.fit == "tile":
            return shape[0], shape[1]
        scale = min(self.height / shape[0], self.width / shape[1])
        return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))

    def _padded(self, image: np.ndarray, border: int) -> np.ndarray:
        tall, wide = self.height - image.shape[0], self.width - image.shape[1]
        top, left = tall // 2, wide // 2
        return cv2.copyMakeBorder(image, top, tall - top, left, wide - left, border)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area average along an axis that shrinks, linear along one that grows.

    In two steps, since cv2 falls back to linear interpolation for both if either axis grows.
    """
    rows, columns = image.shape[:2]
    image = cv2.resize(image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
