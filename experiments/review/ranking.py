"""How good a ranking of suspects is, where the true masks are known."""

from collections.abc import Sequence

import cv2
import numpy as np

from sbp.data.dataset import Split
from sbp.review import Suspect
from sbp.review.suspects import CONTRADICTION, MISSING

FOUND = (MISSING, CONTRADICTION)


def unmarked_regions(clean: np.ndarray, masks: np.ndarray) -> list[np.ndarray]:
    """The zones of a true mask (H, W) that the annotation (H, W) has nothing of, each (H, W) bool."""
    count, numbers = cv2.connectedComponents((clean == 1).astype(np.uint8), connectivity=8)
    zones = [numbers == k for k in range(1, count)]
    return [zone for zone in zones if not (zone & (masks == 1)).any()]


def hits(suspects: Sequence[Suspect], split: Split) -> tuple[np.ndarray, int]:
    """Of each suspect of a missing annotation, (n,) int: the number of the unmarked region in whose place it
    is, -1 if in none's, or an earlier suspect's; and how many such regions there are."""
    assert split.clean_masks is not None
    regions: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
    total = 0
    for image in range(len(split)):
        clean, masks = np.asarray(split.clean_masks[image]), np.asarray(split.masks[image])
        for d in range(clean.shape[2]):
            for zone in unmarked_regions(clean[:, :, d], masks[:, :, d]):
                regions.setdefault((image, d), []).append((total, zone))
                total += 1
    named, taken = [], set()
    for suspect in (s for s in suspects if s.kind in FOUND):
        left, top, width, height = suspect.box
        there = [
            number
            for number, zone in regions.get((suspect.image, suspect.defect), [])
            if number not in taken and zone[top : top + height, left : left + width].any()
        ]
        taken |= set(there[:1])
        named.append(there[0] if there else -1)
    return np.array(named, dtype=np.int64), total


def precision_at(named: np.ndarray, k: int) -> float:
    """Share of the first k suspects that are right; those that are not there are wrong."""
    return float(np.count_nonzero(named[:k] >= 0)) / k if k else float("nan")


def recall_at(named: np.ndarray, total: int, k: int) -> float:
    """Share of the regions that are among the first k suspects."""
    return float(len(set(named[:k][named[:k] >= 0].tolist()))) / total if total else float("nan")


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Of a ranking of images: scores (N,), higher first, positive (N,) bool; ties in the images' order."""
    order = np.argsort(-scores, kind="stable")
    right = positive[order]
    if not right.any():
        return float("nan")
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].mean())
