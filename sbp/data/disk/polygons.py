"""Polygons as masks: the pixels that an outline covers by half, at any size of image."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sbp.data.disk.claims import Claims, Extent
from sbp.data.disk.shapes import Shape, expect_drawn_on
from sbp.errors import UserError

FINE = 8
"""Polygons are drawn at this many times the resolution."""
AT_ONCE = 512
"""Side in pixels up to which a polygon is drawn in one piece; a larger one in blocks, and only those along
its outline finely: the same but for rounding, in pixels that are covered by about half."""
BLOCK = 64


@dataclass(frozen=True)
class Polygons:
    """Closed outlines, each x0, y0, x1, y1, ... in pixels from the corner of the image, as COCO has them.

    normalised: in shares of the image's width and height instead (YOLO). size: (H, W) of the image that they
    were drawn on, None if nobody says it. said: what the file says of them beside. where: for messages.
    """

    outlines: tuple[tuple[float, ...], ...]
    where: str
    size: Shape | None = None
    normalised: bool = False
    said: Claims | None = None
    path: None = None

    def mask(self, shape: Shape) -> np.ndarray:
        """(H, W) bool: pixels of which an outline covers half or more; of a thinner one the pixels that it
        covers most, so that none vanishes. Raises UserError for an outline of fewer than three points, for
        an image of another size, and if the file's own box lies elsewhere."""
        expect_drawn_on(self.size, shape, self.where)
        drawn = np.zeros(shape, dtype=bool)
        outlines = self.in_pixels(shape)
        if self.said is not None:
            self.said.expect_near(_extent(outlines), self.where)
        for points in outlines:
            left, top = np.floor(points.min(axis=0)).astype(int).clip(0)
            right, bottom = np.ceil(points.max(axis=0)).astype(int).clip(None, [shape[1], shape[0]])
            if left >= right or top >= bottom:
                raise UserError(f"{self.where}: a polygon lies outside of the image or has no area")
            drawn[top:bottom, left:right] |= covered(points - [left, top], bottom - top, right - left)
        return drawn

    def in_pixels(self, shape: Shape) -> list[np.ndarray]:
        """(n, 2) x and y of each outline, in pixels of an image of that shape."""
        scale = [shape[1], shape[0]] if self.normalised else [1, 1]
        found = []
        for outline in self.outlines:
            if len(outline) < 6 or len(outline) % 2:
                raise UserError(f"{self.where}: a polygon needs x and y of three or more points")
            found.append(np.asarray(outline, dtype=np.float64).reshape(-1, 2) * scale)
        return found

    def is_empty(self) -> bool:
        """Whether there is no outline."""
        return not self.outlines


def _extent(outlines: list[np.ndarray]) -> Extent:
    points = np.concatenate(outlines)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


def covered(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool: pixels that the polygon covers by half, or most. points: (n, 2) x and y."""
    if max(height, width) <= AT_ONCE:
        coverage = _coverage(points, 0, 0, height, width)
        return coverage >= min(0.5, float(coverage.max()))
    coverage = _filled(points, height, width).astype(np.float32)
    for top, left in _blocks_on_outline(points, height, width):
        part = coverage[top : top + BLOCK, left : left + BLOCK]
        part[:] = _coverage(points, top, left, *part.shape)
    return coverage >= min(0.5, float(coverage.max()))


def _coverage(points: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """(height, width) share of each pixel that the polygon covers, in a window of the plane."""
    fine = np.zeros((height * FINE, width * FINE), dtype=np.uint8)
    # cv2 counts from the centre of the first pixel, COCO from its corner
    moved = (points - [left, top]) * FINE - 0.5
    cv2.fillPoly(fine, [np.round(moved * 16).astype(np.int32)], 1, shift=4)
    return fine.reshape(height, FINE, width, FINE).mean(axis=(1, 3), dtype=np.float32)


def _filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) uint8: pixels whose centre is inside; right wherever no outline passes."""
    filled = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(filled, [np.round((points - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return filled


def _blocks_on_outline(points: np.ndarray, height: int, width: int) -> Iterator[tuple[int, int]]:
    """Top and left of the blocks that an outline passes, or comes near."""
    line = np.zeros((height, width), dtype=np.uint8)
    cv2.polylines(line, [np.round((points - 0.5) * 16).astype(np.int32)], True, 1, thickness=3, shift=4)
    for top in range(0, height, BLOCK):
        for left in range(0, width, BLOCK):
            if line[top : top + BLOCK, left : left + BLOCK].any():
                yield top, left
