"""Generated images: dark noise, and on some of them a bright stripe, across or along."""

from typing import Any

import numpy as np

from sbp.data.source import SOURCES, Sample
from sbp.plugins.checks import at_least, require

EVERY = {"across": 4, "along": 12}
"""Every so many images hold the defect."""


@SOURCES.register("stripes")
class Stripes:
    """`images` for training and a quarter of them each for val and test, at least 48. image_size, seed and
    defects are keys that every data set has."""

    def __init__(self, image_size: int, seed: int, defects: list[str], images: int = 96):
        at_least(48, images=images)
        require(image_size >= 16, "image_size", image_size, "at least 16")
        require(defects == list(EVERY), "defects", defects, str(list(EVERY)))
        self.image_size, self.seed, self.images, self.defects = image_size, seed, images, tuple(defects)

    def describe(self) -> dict[str, Any]:
        return {"image_size": self.image_size, "seed": self.seed, "images": self.images}

    def lengths(self) -> dict[str, int]:
        return {"train": self.images, "val": self.images // 4, "test": self.images // 4}

    def sample(self, split: str, index: int) -> Sample:
        size = self.image_size
        rng = np.random.default_rng([self.seed, index, len(split), split == "val"])
        image = rng.integers(0, 90, (size, size, 1), dtype=np.uint8)
        masks = np.zeros((size, size, 2), dtype=np.uint8)
        place = int(rng.integers(0, size - 3))
        if index % EVERY["across"] == 0:
            masks[place : place + 3, :, 0] = 1
        if index % EVERY["along"] == 1:
            masks[:, place : place + 3, 1] = 1
        image[masks.any(axis=2)] += 120
        return Sample(image, masks, None, f"{split}_{index}")
