"""Images that show the same and are annotated differently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sbp.data.audit.near import NearPair, View
from sbp.data.audit.reading import ImageFacts

TOLERANCE = 4
"""Pixels of a texture (96 across the median image) by which two annotations of one defect may lie apart:
annotations are coarse, and photographs are aligned by whole pixels only."""

Marks = Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Contradiction:
    """Images i and j show the same; `defect` (by number) is marked at a place in i where j has no mark."""

    i: int
    j: int
    defect: int


def contradictions_of_equals(
    pairs: Sequence[tuple[int, int]], facts: Sequence[ImageFacts]
) -> list[Contradiction]:
    """Among images that are equal pixel by pixel (i, j), perhaps turned or flipped."""
    found = []
    for i, j in pairs:
        first, second = (_laid_alike(facts[k]) for k in (i, j))
        found += _both_ways(i, j, first, second, None)
    return found


def contradictions_of_alikes(near: Sequence[NearPair], facts: Sequence[ImageFacts]) -> list[Contradiction]:
    """Among photographs of the same, where both show the place."""
    found = []
    for pair in near:
        first, texture = facts[pair.i].marks, facts[pair.i].texture
        if texture is None or not (first or facts[pair.j].marks):
            continue
        second, seen = _moved(facts[pair.j], pair.view, texture.shape)
        found += _both_ways(pair.i, pair.j, first, second, seen)
    return found


def _laid_alike(fact: ImageFacts) -> Marks:
    assert fact.orientation is not None
    return {d: fact.orientation.apply(mask) for d, mask in fact.marks.items()}


def _moved(fact: ImageFacts, view: View, shape: Sequence[int]) -> tuple[Marks, np.ndarray]:
    """The marks in the other image's frame, and where both show the same (h, w) bool, without the rim."""
    assert fact.texture is not None
    _, seen = view.onto(np.ones(fact.texture.shape, bool), shape)
    rim = np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)
    inside = cv2.erode(seen.astype(np.uint8), rim, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    return {d: view.onto(mask, shape)[0] for d, mask in fact.marks.items()}, inside


def _both_ways(i: int, j: int, first: Marks, second: Marks, seen: np.ndarray | None) -> list[Contradiction]:
    found = [Contradiction(i, j, d) for d in first if _lacks(first[d], second.get(d), seen)]
    return found + [Contradiction(j, i, d) for d in second if _lacks(second[d], first.get(d), seen)]


def _lacks(marked: np.ndarray, other: np.ndarray | None, seen: np.ndarray | None) -> bool:
    """Whether a zone of `marked` that both images show has nothing of `other` near it. All (h, w) bool."""
    count, zones = cv2.connectedComponents(marked.astype(np.uint8))
    near = np.zeros(marked.shape, bool)
    if other is not None:
        reach = np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)
        near = cv2.dilate(other.astype(np.uint8), reach) > 0
    for number in range(1, count):
        zone = zones == number
        shown = 1.0 if seen is None else float(seen[zone].mean())
        if shown >= 0.5 and not (zone & near).any():
            return True
    return False
