"""From a seed to images: which image holds what, and how it is put together."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sbp.data.source import SOURCES, SPLITS, Sample, Source
from sbp.data.synthetic.defects import DRAW, coarsen
from sbp.data.synthetic.lookalikes import LOOKALIKES
from sbp.data.synthetic.panel import healthy_panel, photograph
from sbp.plugins.checks import at_least, fraction, require
from sbp.seeding import Purpose, generator

GENERATOR_VERSION = 2
"""Raised whenever the same arguments give other images, so that no stale cache is used."""

DEFECTS = ("scratch", "broken")
MOST_IMAGES = 10_000_000
"""Of a split."""
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


@SOURCES.register("inspection")
@dataclass(kw_only=True)
class InspectionSource(Source):
    """Grey images of metal panels, `image_size` pixels a side (32 to 512), all from `seed`.

    Shares are parts of a split's images, 0..1, and are met exactly (at least one image per defect):
    `common_share` hold a scratch, `rare_share` a broken zone, a few both; `lookalike_share` of the images are
    healthy but show a fibre, a stain or a reflection that resembles a defect. Validation and test use the
    `eval_` shares. Annotations are coarse: `coarseness` is the largest dilation in pixels of a 64-pixel
    image, and two thirds of it the largest offset; `missing_annotations` (0..1) of each defect's instances
    have none. Clean masks are kept beside them.

    Image `index` of a split depends on nothing but the arguments: every image has random streams of its own,
    and the arithmetic is numpy's in float64, rounded at the end. Raises ValueError for arguments out of
    range.
    """

    image_size: int
    train_images: int
    val_images: int
    test_images: int
    seed: int = 0
    common_share: float = 0.10
    rare_share: float = 0.015
    eval_common_share: float = 0.30
    eval_rare_share: float = 0.20
    lookalike_share: float = 0.015
    eval_lookalike_share: float = 0.15
    missing_annotations: float = 0.05
    coarseness: float = 1.5
    channels: int = 1
    defects: tuple[str, ...] = DEFECTS

    def __post_init__(self) -> None:
        self.defects = tuple(self.defects)
        require(self.defects == DEFECTS, "defects", [*self.defects], f"[{', '.join(DEFECTS)}]")
        require(self.channels == 1, "channels", self.channels, "1 (the panels are grey)")
        require(32 <= self.image_size <= 512, "image_size", self.image_size, "between 32 and 512")
        at_least(0, seed=self.seed)
        require(0 <= self.coarseness <= 32, "coarseness", self.coarseness, "between 0 and 32")
        for split, images in self.lengths().items():
            at_least(8, **{f"{split}_images": images})
            require(images <= MOST_IMAGES, f"{split}_images", images, f"at most {MOST_IMAGES}")
        fraction(missing_annotations=self.missing_annotations)
        for shares in (self._shares("train"), self._shares("val")):
            fraction(**shares)
            first, *others = shares
            total = sum(shares.values())
            about = f"at most 1 together with {' and '.join(others)}, not {total:g}"
            require(total <= 1, first, shares[first], about)

    def _shares(self, split: str) -> dict[str, float]:
        """Of a split's images, by key: with the common defect, the rare one, a look-alike."""
        prefix = "" if split == "train" else "eval_"
        keys = [f"{prefix}{kind}_share" for kind in ("common", "rare", "lookalike")]
        return {key: getattr(self, key) for key in keys}

    def describe(self) -> dict[str, Any]:
        arguments = {key: value for key, value in asdict(self).items() if key not in ("channels", "defects")}
        return {"generator": GENERATOR_VERSION, **arguments}

    def lengths(self) -> dict[str, int]:
        return {split: getattr(self, f"{split}_images") for split in SPLITS}

    @cached_property
    def plans(self) -> dict[str, SplitPlan]:
        """What each image of each split holds."""
        plans = {}
        for number, (split, images) in enumerate(self.lengths().items()):
            common, rare, lookalike = self._shares(split).values()
            rng = generator(self.seed, Purpose.DATA_PLAN, number)
            plans[split] = plan_split(images, common, rare, lookalike, self.missing_annotations, rng)
        return plans

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split` with its coarse and clean masks; `kind` names its look-alike, if any.

        Raises IndexError for an image that the split does not have.
        """
        if not 0 <= index < self.lengths()[split]:
            raise IndexError(f"image {index} of {split}, which has {self.lengths()[split]}")
        rng = generator(self.seed, Purpose.DATA_IMAGE, SPLITS.index(split), index)
        size, plan = self.image_size, self.plans[split]
        picture = healthy_panel(size, rng)
        kind = plan.lookalikes.get(index, "")
        if kind:
            picture = LOOKALIKES[kind](picture, rng)
        clean = np.zeros((size, size, len(DEFECTS)), dtype=np.uint8)
        annotated = clean.copy()
        for instance in plan.instances.get(index, ()):
            picture, mask = DRAW[instance.defect](picture, rng)
            coarse = coarsen(mask, self.coarseness * size / 64, rng)
            channel = DEFECTS.index(instance.defect)
            clean[:, :, channel] |= mask
            if instance.annotated:
                annotated[:, :, channel] |= coarse
        return Sample(photograph(picture, rng), annotated, clean, f"{split}_{index:05d}", kind)
