"""Annotations of a defect in an image, and how they become a mask: files, run lengths, polygons."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from sbp.data.disk.mask_files import ColourMask, CroppedMask, MaskFile
from sbp.data.disk.polygons import Polygons
from sbp.data.disk.run_lengths import CocoRuns, RunLengths
from sbp.data.disk.shapes import Shape

Annotation = MaskFile | ColourMask | CroppedMask | RunLengths | Polygons | CocoRuns

__all__ = [
    "Annotation",
    "CocoRuns",
    "ColourMask",
    "CroppedMask",
    "MaskFile",
    "Polygons",
    "RunLengths",
    "merged_mask",
]


def merged_mask(annotations: Sequence[Annotation], shape: Shape) -> np.ndarray:
    """(H, W) bool: the union of the annotations."""
    return reduce(np.logical_or, (a.mask(shape) for a in annotations), np.zeros(shape, dtype=bool))
