"""Which image of a split holds which defects and look-alikes: exact shares, drawn once."""

from dataclasses import dataclass

import numpy as np

KINDS = ("fibre", "stain", "reflection")
BOTH_SHARE = 0.2
"""Part of the images with the rare defect that hold the common one as well."""


@dataclass(frozen=True)
class Instance:
    """One defect on an image, and whether the annotator saw it."""

    defect: str
    annotated: bool


@dataclass(frozen=True)
class SplitPlan:
    """Per image number: its defects in the order of drawing, and its look-alike, if any."""

    instances: dict[int, tuple[Instance, ...]]
    lookalikes: dict[int, str]


def plan_split(
    images: int,
    common_share: float,
    rare_share: float,
    lookalike_share: float,
    missing: float,
    rng: np.random.Generator,
) -> SplitPlan:
    """Draw the plan of a split of `images` images; shares are parts of them, 0..1, and are met exactly.

    A defect with a share above 0 is on at least one image; look-alikes take turns in KINDS. Of 200 or
    more images at least one holds both defects. `missing` is the part, 0..1, of each defect's instances
    without annotation, rounded; at least one instance of each defect keeps its own.
    """
    common, rare = (max(1, round(s * images)) if s > 0 else 0 for s in (common_share, rare_share))
    both = max(round(BOTH_SHARE * rare), int(images >= 200), common + rare - images)
    both = min(both, common, rare)
    order = rng.permutation(images)
    scratched = order[:common]
    broken = np.concatenate([scratched[:both], order[common : common + rare - both]])
    similar = order[common + rare - both :][: round(lookalike_share * images)]
    defects: dict[int, list[str]] = {}
    for index in scratched.tolist():
        defects.setdefault(index, []).extend(["scratch"] * int(rng.integers(1, 3)))
    for index in broken.tolist():
        defects.setdefault(index, []).append("broken")
    lookalikes = {index: KINDS[i % len(KINDS)] for i, index in enumerate(similar.tolist())}
    return SplitPlan(_annotate(defects, missing, rng), lookalikes)


def _annotate(
    defects: dict[int, list[str]], missing: float, rng: np.random.Generator
) -> dict[int, tuple[Instance, ...]]:
    unseen: set[tuple[int, int]] = set()
    for name in ("scratch", "broken"):
        places = [(i, n) for i, held in defects.items() for n, defect in enumerate(held) if defect == name]
        lost = min(round(missing * len(places)), max(len(places) - 1, 0))
        unseen.update(places[k] for k in rng.permutation(len(places))[:lost])
    return {
        index: tuple(Instance(defect, (index, n) not in unseen) for n, defect in enumerate(held))
        for index, held in defects.items()
    }
