"""From a seed to images: which image holds what, and how it is put together."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sbp.data.source import SOURCES, SPLITS, Sample, Source
from sbp.data.synthetic.annotation import coarsen
from sbp.data.synthetic.defects import DRAW
from sbp.data.synthetic.lookalikes import LOOKALIKES
from sbp.data.synthetic.panel import healthy_panel, photograph
from sbp.data.synthetic.plan import SplitPlan, plan_split
from sbp.plugins.checks import at_least, fraction, require
from sbp.seeding import Purpose, generator

GENERATOR_VERSION = 2
"""Raised whenever the same arguments give other images, so that no stale cache is used."""

DEFECTS = ("scratch", "broken")
MOST_IMAGES = 10_000_000
"""Of a split."""


@SOURCES.register("inspection")
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

    defects = DEFECTS

    def __init__(
        self,
        *,
        image_size: int,
        train_images: int,
        val_images: int,
        test_images: int,
        seed: int = 0,
        common_share: float = 0.10,
        rare_share: float = 0.015,
        eval_common_share: float = 0.30,
        eval_rare_share: float = 0.20,
        lookalike_share: float = 0.015,
        eval_lookalike_share: float = 0.15,
        missing_annotations: float = 0.05,
        coarseness: float = 1.5,
        channels: int = 1,
        defects: Sequence[str] = DEFECTS,
    ):
        self.arguments = {
            k: v for k, v in locals().items() if k not in ("self", "__class__", "channels", "defects")
        }
        self.image_size, self.seed, self.coarseness = image_size, seed, coarseness
        require(tuple(defects) == DEFECTS, "defects", [*defects], f"[{', '.join(DEFECTS)}]")
        require(channels == 1, "channels", channels, "1 (the panels are grey)")
        _check(self.arguments)

    def describe(self) -> dict[str, Any]:
        """The arguments and the generator's version."""
        return {"generator": GENERATOR_VERSION, **self.arguments}

    def lengths(self) -> dict[str, int]:
        """Number of images per split."""
        return {split: self.arguments[f"{split}_images"] for split in SPLITS}

    @cached_property
    def plans(self) -> dict[str, SplitPlan]:
        """What each image of each split holds."""
        a = self.arguments
        plans = {}
        for number, (split, images) in enumerate(self.lengths().items()):
            prefix = "" if split == "train" else "eval_"
            common, rare, lookalike = (a[f"{prefix}{kind}_share"] for kind in ("common", "rare", "lookalike"))
            rng = generator(self.seed, Purpose.DATA_PLAN, number)
            plans[split] = plan_split(images, common, rare, lookalike, a["missing_annotations"], rng)
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


def _check(arguments: dict[str, Any]) -> None:
    size = arguments["image_size"]
    require(32 <= size <= 512, "image_size", size, "between 32 and 512")
    at_least(0, seed=arguments["seed"])
    coarseness = arguments["coarseness"]
    require(0 <= coarseness <= 32, "coarseness", coarseness, "between 0 and 32")
    for key in (f"{split}_images" for split in SPLITS):
        at_least(8, **{key: arguments[key]})
        require(arguments[key] <= MOST_IMAGES, key, arguments[key], f"at most {MOST_IMAGES}")
    fraction(missing_annotations=arguments["missing_annotations"])
    for prefix in ("", "eval_"):
        shares = {
            f"{prefix}{k}_share": arguments[f"{prefix}{k}_share"] for k in ("common", "rare", "lookalike")
        }
        fraction(**shares)
        first, *others = shares
        total = sum(shares.values())
        about = f"at most 1 together with {' and '.join(others)}, not {total:g}"
        require(total <= 1, first, shares[first], about)
