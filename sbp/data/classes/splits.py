"""Splits that a set of labelled images does not come with, drawn from its training images."""

from collections.abc import Mapping, Sequence

import numpy as np

from sbp.errors import UserError
from sbp.seeding import Purpose, generator


def drawn_splits(
    labels: np.ndarray,
    classes: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    most: int | None = None,
) -> dict[str, np.ndarray]:
    """The numbers of the images of each split in `fractions`, and of those that are left as `train`, all in
    ascending order.

    labels: (N,) int, the class of each image. Each class gives each split its fraction, rounded, at least one
    image. most: of all N, use so many only, each class in its share of them. Raises UserError for a class
    that has too few images to be in all splits.
    """
    rng = generator(seed, Purpose.DATA_PLAN, 0)
    kept = 1.0 if most is None else min(1.0, most / max(1, len(labels)))
    parts: dict[str, list[np.ndarray]] = {split: [] for split in ("train", *fractions)}
    for number, name in enumerate(classes):
        members = rng.permutation(np.flatnonzero(labels == number))
        needed = len(fractions) + 1
        members = members[: max(needed, round(kept * len(members)))]
        if len(members) < needed:
            raise UserError(
                f"class {name}: has {len(members)} training images, must be at least {needed}, one for each "
                f"of {', '.join(parts)}"
            )
        left = len(members)
        for after, (split, fraction) in enumerate(fractions.items(), 1):
            count = max(1, round(fraction * len(members)))
            count = min(count, left - 1 - (len(fractions) - after))
            parts[split].append(members[left - count : left])
            left -= count
        parts["train"].append(members[:left])
    return {split: np.sort(np.concatenate(numbers)) for split, numbers in parts.items()}
