"""Images that show the same and are annotated differently."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from sbp.data.audit.near import NearPair
from sbp.data.audit.reading import ImageFacts

TOLERANCE = 4
"""Pixels of a texture (96 across the median image) by which two annotations of one defect may lie apart:
annotations are coarse, and photographs are aligned by whole pixels only."""
_KERNEL = np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)

Masks = Mapping[int, np.ndarray]
"""(h, w) bool by the number of the defect."""


class AnnotationConflict(NamedTuple):
    """Images i and j show the same; `defect` (by number) is annotated at a place in i and not in j."""

    i: int
    j: int
    defect: int


def conflicts_of_duplicates(
    pairs: Sequence[tuple[int, int]], facts: Sequence[ImageFacts]
) -> list[AnnotationConflict]:
    """Among images that are equal pixel by pixel (i, j), perhaps rotated or flipped."""
    found = []
    for i, j in pairs:
        found += _both_ways(i, j, _oriented_masks(facts[i]), _oriented_masks(facts[j]), None)
    return found


def conflicts_of_near_duplicates(
    near: Sequence[NearPair], facts: Sequence[ImageFacts]
) -> list[AnnotationConflict]:
    """Among photographs of the same, where both show the place."""
    found = []
    for pair in near:
        first, second = facts[pair.i], facts[pair.j]
        if first.texture is None or second.texture is None or not (first.masks or second.masks):
            continue
        shape = first.texture.shape
        moved = {d: pair.view.onto(mask, shape)[0] for d, mask in second.masks.items()}
        # where both show the same, without the rim
        _, seen = pair.view.onto(np.ones(second.texture.shape, bool), shape)
        inner = cv2.erode(seen.astype(np.uint8), _KERNEL, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        found += _both_ways(pair.i, pair.j, first.masks, moved, inner)
    return found


def _oriented_masks(fact: ImageFacts) -> Masks:
    assert fact.orientation is not None
    return {d: fact.orientation.apply(mask) for d, mask in fact.masks.items()}


def _both_ways(
    i: int, j: int, first: Masks, second: Masks, seen: np.ndarray | None
) -> list[AnnotationConflict]:
    found = [AnnotationConflict(i, j, d) for d in first if _lacks(first[d], second.get(d), seen)]
    return found + [AnnotationConflict(j, i, d) for d in second if _lacks(second[d], first.get(d), seen)]


def _lacks(mask: np.ndarray, other: np.ndarray | None, seen: np.ndarray | None) -> bool:
    """Whether a zone of `mask` that both images show has nothing of `other` near it. All (h, w) bool."""
    count, zones = cv2.connectedComponents(mask.astype(np.uint8))
    near = cv2.dilate((np.zeros_like(mask) if other is None else other).astype(np.uint8), _KERNEL) > 0
    places = (zones == number for number in range(1, count))
    return any((seen is None or seen[zone].mean() >= 0.5) and not near[zone].any() for zone in places)
