"""What an annotator makes of a defect: a little too large and a little beside it."""

import cv2
import numpy as np


def coarsen(mask: np.ndarray, coarseness: float, rng: np.random.Generator) -> np.ndarray:
    """Dilate and shift a clean mask (S, S) uint8 by up to `coarseness` pixels each."""
    radius = round(rng.uniform(0, coarseness))
    dx, dy = np.round(rng.uniform(-coarseness, coarseness, 2) / 1.5).astype(int)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    thick = cv2.dilate(mask, kernel)
    move = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    moved = cv2.warpAffine(thick, move, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved if moved.any() else thick  # never out of the picture
