"""What an image's annotation of one defect is, in the form that a target writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.data.convert.outlines import outlines_of
from sbp.data.disk.annotations import Annotation, Polygons


@dataclass(frozen=True)
class Zones:
    """mask: (H, W) bool. objects: of each annotated object its outlines, (n, 2) x and y in pixels, which draw
    the same mask again; None if no outlines do."""

    mask: np.ndarray
    objects: list[list[np.ndarray]] | None


def zones_of(mask: np.ndarray, annotations: Sequence[Annotation], turned: bool) -> Zones:
    """The zones of one defect; polygons stay as they are. turned: the mask is not oriented as the annotations
    are, so that they do not fit any more."""
    shape = (mask.shape[0], mask.shape[1])
    if not turned and all(isinstance(a, Polygons) for a in annotations):
        objects = [a.in_pixels(shape) for a in annotations if isinstance(a, Polygons)]
    else:
        objects = [[outline] for outline in outlines_of(mask)]
    outlines = tuple(tuple(points.ravel().tolist()) for one in objects for points in one)
    same = np.array_equal(Polygons(outlines, "").mask(shape), mask) if outlines else not mask.any()
    return Zones(mask, objects if same else None)
