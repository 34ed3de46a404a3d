"""What an annotator makes of a defect: too large, and beside it."""

import cv2
import numpy as np


def coarsen(mask: np.ndarray, coarseness: float, rng: np.random.Generator) -> np.ndarray:
    """A clean mask (S, S) uint8 as annotated: dilated by a disc and moved.

    The disc's radius is drawn from 0.3 to 1 times `coarseness` pixels, the offset along each axis from -2/3
    to 2/3 of it, in whole pixels. It is not moved where it would then miss more than half of the defect.
    """
    radius = rng.uniform(0.3, 1.0) * coarseness
    right, down = (round(offset) for offset in (rng.uniform(-1, 1, 2) * coarseness / 1.5).tolist())
    reach = int(radius)
    x = np.arange(-reach, reach + 1)
    disc = (x * x + x[:, None] ** 2 <= radius * radius).astype(np.uint8)
    thick = cv2.dilate(mask, disc)  # exact: a maximum of integers
    moved = _moved(thick, right, down)
    return moved if 2 * (moved & mask).sum() >= mask.sum() else thick


def _moved(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    height, width = mask.shape
    result = np.zeros_like(mask)
    result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return result
