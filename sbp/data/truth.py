"""What an image set knows of its training images beyond their annotations, as generated data does."""

import numpy as np

from sbp.data.dataset import Split
from sbp.data.units import SelectionUnits


def lookalikes(split: Split, units: SelectionUnits) -> np.ndarray | None:
    """(N,) bool, whether an image holds something that looks like a defect; None where nothing is known, as
    of tiles: nobody says where in the image it is."""
    kinds = np.array([bool(kind) for kind in split.kinds], dtype=bool)
    return kinds if kinds.any() and units.grid is None else None


def unmarked(split: Split, units: SelectionUnits) -> np.ndarray | None:
    """(N,) bool, whether a unit holds a defect of a kind that its annotation lacks; None where the true masks
    are not known. One image's masks in memory at a time."""
    if split.clean_masks is None:
        return None
    true = np.concatenate([units.held(split.clean_masks[image]) for image in range(len(split))])
    return (true & ~units.labels).any(axis=1)
