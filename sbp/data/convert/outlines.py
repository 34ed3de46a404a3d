"""From masks to polygons that draw the same masks again."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

FINE = 4
"""Outlines run through the centres of pixels at this many times the resolution: so they cover more than half
of every pixel of the mask, also of a single one, and nothing of the others."""


def outlines_of(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines (n, 2) of x and y in pixels, one for each zone of mask (H, W) bool; a zone with holes
    is connected with them by a slit without area, as polygons have no other way to say it."""
    count, zones, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for zone in range(1, count):
        left, top, width, height = boxes[zone, :4]
        part = zones[top : top + height, left : left + width] == zone
        found += [outline + np.array([left, top]) for outline in _outlines(part)]
    return found


def _outlines(part: np.ndarray) -> Iterator[np.ndarray]:
    fine = np.repeat(np.repeat(part.astype(np.uint8), FINE, axis=0), FINE, axis=1)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for k, contour in enumerate(contours):
        if hierarchy[0, k, 3] >= 0:  # a hole, taken along with what it lies in
            continue
        holes = [contours[j][:, 0] for j in range(len(contours)) if hierarchy[0, j, 3] == k]
        yield (_joined(contour[:, 0], holes) + 0.5) / FINE


def _joined(outline: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """The outline with each hole put in at the nearest point, there and back."""
    for hole in holes:
        apart = np.abs(outline[:, None] - hole[None]).sum(axis=2)
        at, start = np.unravel_index(int(apart.argmin()), apart.shape)
        around = np.concatenate([hole[start:], hole[: start + 1]])
        outline = np.concatenate([outline[: at + 1], around, outline[at:]])
    return outline
