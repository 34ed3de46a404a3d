"""From scores to a list: what to annotate next, within a budget."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

NOTHING = -1
"""The stratum of images in which the model sees no defect."""


@dataclass(frozen=True)
class Choice:
    """chosen: image numbers in the order in which they were chosen. duplicate_of: of images that were passed
    over, which chosen one they look like."""

    chosen: list[int]
    duplicate_of: dict[int, int]


def ranking(scores: np.ndarray) -> np.ndarray:
    """(N,) image numbers, the highest of scores (N,) first, ties by number."""
    return np.argsort(-scores, kind="stable")


def stratified_ranking(
    scores: np.ndarray, strata: np.ndarray, power: float, rng: np.random.Generator
) -> np.ndarray:
    """(N,) image numbers: strata (N,) take turns, the best of each in each, that of the fewest images first.

    Within a stratum by ln s + Gumbel / power, which draws without replacement with probabilities in
    proportion to s ** power, so that the list is not one kind of image (power acquisition: Kirsch et al.,
    arXiv:2106.12059). scores: (N,), at least 0. power: above 0; a large one is the ranking itself.
    """
    noisy = np.log(np.maximum(scores, 1e-12)) + rng.gumbel(size=len(scores)) / power
    turn = np.empty(len(scores), dtype=np.int64)
    sizes = {int(s): int(np.count_nonzero(strata == s)) for s in np.unique(strata)}
    for stratum in sizes:
        members = np.flatnonzero(strata == stratum)
        turn[members[np.argsort(-noisy[members], kind="stable")]] = np.arange(len(members))
    size = np.array([sizes[int(s)] for s in strata])
    return np.lexsort((np.arange(len(scores)), size, turn))


def strata_of(highest: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(N,) the defect of which the model is surest, of highest probabilities (N, D); NOTHING below the
    threshold."""
    return np.where(highest.max(axis=1) >= threshold, highest.argmax(axis=1), NOTHING)


def within_budget(
    order: Sequence[int],
    expected: np.ndarray,
    images: int | None,
    defects: float | None,
    alike: Callable[[Sequence[int]], dict[int, list[int]]],
) -> Choice:
    """The first images of an order that fit the budget, without what looks like one that is chosen.

    expected: (N,) number of defects that the model expects in each image. images, defects: the budget; None:
    no limit. alike: of image numbers, which of them look like which others; it is asked for more of them only
    if the first ones do not fill the budget.
    """
    chosen: list[int] = []
    duplicate_of: dict[int, int] = {}
    same: dict[int, list[int]] = {}
    sum_of_defects = 0.0
    for number in _with_neighbours(order, images, alike, same):
        if (images is not None and len(chosen) >= images) or (
            defects is not None and sum_of_defects >= defects
        ):
            break
        taken = set(chosen)
        twin = next((other for other in same.get(number, ()) if other in taken), None)
        if twin is not None:
            duplicate_of[number] = twin
            continue
        chosen.append(number)
        sum_of_defects += float(expected[number])
    return Choice(chosen, duplicate_of)


def _with_neighbours(
    order: Sequence[int],
    images: int | None,
    alike: Callable[[Sequence[int]], dict[int, list[int]]],
    same: dict[int, list[int]],
) -> Iterator[int]:
    """The order, `same` being filled before what it tells of is needed: twice as many at each time."""
    known, wanted = 0, 2 * (images or 50)
    while known < len(order):
        end = min(len(order), wanted)
        same.update(alike(order[:end]))
        yield from order[known:end]
        known, wanted = end, 2 * wanted
