"""Augmentation from config, through albumentations: the only module that imports it."""

import os
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sbp.errors import UserError
from sbp.seeding import Purpose, stream

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks a server for its newest version on import


class Augmentation:
    """A pipeline whose randomness is a function of (seed, epoch, image, copy) alone.

    So an image's augmentation in an epoch does not depend on which other images were selected, on the
    batch, or on the loader's workers. Raises UserError for an unknown transform or argument.
    """

    def __init__(self, transforms: Sequence[dict[str, Any]], seed: int):
        self.seed, self.steps = seed, len(transforms)
        self.pipeline = _compose(transforms) if transforms else None

    def __call__(self, image: np.ndarray, masks: np.ndarray, epoch: int, index: int, copy: int = 0):
        """Augment image (H, W, C) and masks (H, W, D), both uint8; `copy` numbers an image's repetitions.
        Masks of another size, which say something of the whole image, stay as they are."""
        if self.pipeline is None:
            return image, masks
        sequence = stream(self.seed, Purpose.AUGMENTATION, epoch, index, copy)
        python_seed = int(sequence.generate_state(1)[0])
        self.pipeline.set_random_state(np.random.default_rng(sequence), random.Random(python_seed))
        if masks.shape[:2] != image.shape[:2]:
            return self.pipeline(image=image)["image"], masks
        result = self.pipeline(image=image, mask=masks)
        return result["image"], result["mask"]


def _compose(transforms: Sequence[dict[str, Any]]):
    import albumentations

    built = []
    for number, entry in enumerate(transforms):
        key, arguments = f"augmentation.transforms[{number}]", dict(entry)
        name = arguments.pop("name", None)
        cls = getattr(albumentations, str(name), None)
        if not (isinstance(cls, type) and issubclass(cls, albumentations.BasicTransform)):
            raise UserError(f"{key}.name={name}: must be the name of an albumentations transform")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # it only warns of an unknown argument
                built.append(cls(**arguments))
        except (UserWarning, ValueError, TypeError) as error:
            raise UserError(f"{key} ({name}): {' '.join(str(error).split())[:300]}") from None
    return albumentations.Compose(built)
