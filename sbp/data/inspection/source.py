"""From a seed to images: which image holds what, and how it is put together."""

from functools import cached_property
from typing import Any

import numpy as np

from sbp.data.inspection import annotation, defects, panel
from sbp.data.inspection.plan import SplitPlan, plan_split
from sbp.data.source import SPLITS, Sample
from sbp.errors import UserError

GENERATOR_VERSION = 1
"""Raised whenever the same arguments give other images, so that no stale cache is used."""

DEFECTS = ("scratch", "broken")


class InspectionSource:
    """Grey images of metal panels, `image_size` pixels a side, all from `seed`.

    Shares are parts of a split's images and are met exactly (at least one image per defect): `common_share`
    hold a scratch, `rare_share` a broken zone, a few both, `lookalike_share` of the images are healthy but
    show a fibre, a stain or a reflection that resembles a defect. Validation and test use the `eval_`
    shares. Annotations are coarse: `coarseness` is the largest dilation and offset in pixels of a 64-pixel
    image; `missing_annotations` of the defects have none. Clean masks are kept beside them.

    Image `index` of a split depends on nothing but the arguments: random streams are seeded per image, and
    the arithmetic is in float64, rounded at the end.
    """

    name, defects = "inspection", DEFECTS

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
    ):
        self.arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.image_size, self.seed, self.coarseness = image_size, seed, coarseness
        for prefix in ("", "eval_"):
            keys = [f"{prefix}{kind}_share" for kind in ("common", "rare", "lookalike")]
            total = sum(self.arguments[key] for key in keys)
            if total > 1:
                raise UserError(f"data.{', data.'.join(keys)}: add up to {total:g}, must be at most 1")

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
            shares = [a[f"{prefix}{kind}_share"] for kind in ("common", "rare", "lookalike")]
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, number]))
            plans[split] = plan_split(images, *shares, a["missing_annotations"], rng)
        return plans

    def sample(self, split: str, index: int) -> Sample:
        """Image, coarse and clean masks of one panel."""
        sequence = np.random.SeedSequence([self.seed, SPLITS.index(split), index, 1])
        rng = np.random.default_rng(sequence)
        size, plan = self.image_size, self.plans[split]
        picture = panel.healthy_panel(size, rng)
        kind = plan.lookalikes.get(index, "")
        if kind:
            picture = defects.LOOKALIKES[kind](picture, rng)
        clean = np.zeros((size, size, len(DEFECTS)), dtype=np.uint8)
        annotated = clean.copy()
        for instance in plan.instances.get(index, ()):
            picture, mask = defects.DRAW[instance.defect](picture, rng)
            coarse = annotation.coarsen(mask, self.coarseness * size / 64, rng)
            channel = DEFECTS.index(instance.defect)
            clean[:, :, channel] |= mask
            if instance.annotated:
                annotated[:, :, channel] |= coarse
        return Sample(panel.photograph(picture, rng), annotated, clean, f"{split}_{index:05d}", kind)
