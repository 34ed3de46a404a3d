"""The one pass over all files: sizes, marked pixels, what is unreadable, what the images look like."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from sbp.data.audit.fingerprints import SIDE, Orientation, exact_hash, shrunk_marks, texture
from sbp.data.disk.annotations import merged_mask
from sbp.data.disk.decode import orientation, read_image
from sbp.data.disk.listing import Item
from sbp.errors import UserError


@dataclass(frozen=True)
class ImageFacts:
    """What one image turned out to be. error: why it cannot be used, then nothing else is known. pixels: (D,)
    marked ones; empty_marks: defects it is filed with that nothing marks. exact, orientation: see exact_hash.
    marks: by defect number, for those it holds, where they are, as large as the texture. turned: the file
    says that it is to be shown turned."""

    error: str = ""
    height: int = 0
    width: int = 0
    pixels: tuple[int, ...] = ()
    empty_marks: tuple[str, ...] = ()
    exact: str = ""
    orientation: Orientation | None = None
    texture: np.ndarray | None = None
    marks: Mapping[int, np.ndarray] = field(default_factory=dict)
    turned: bool = False


def read_all(
    items: Sequence[Item],
    defects: Sequence[str],
    channels: int,
    white_level: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ImageFacts]:
    """Facts of every image, in the order of `items`; memory grows by a small texture per image."""
    factor = _factor(items, channels, white_level)
    facts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding releases the interpreter
        for fact in pool.map(lambda item: _facts(item, defects, channels, white_level, factor), items):
            facts.append(fact)
            if progress:
                progress(len(facts), len(items))
    return facts


def _factor(items: Sequence[Item], channels: int, white_level: int | None, sample: int = 50) -> float:
    """The scale at which textures are compared, from a sample of sizes."""
    sides = []
    for item in items[:: max(1, len(items) // sample)]:
        try:
            sides.append(max(read_image(item.image, channels, white_level).shape[:2]))
        except UserError:
            continue
    return SIDE / float(np.median(sides)) if sides else 1.0


def _facts(item: Item, defects: Sequence[str], channels: int, white_level, factor: float) -> ImageFacts:
    try:
        image = read_image(item.image, channels, white_level)
        shape = (image.shape[0], image.shape[1])
        masks = [merged_mask(item.marks.get(defect, ()), shape) for defect in defects]
    except UserError as error:
        return ImageFacts(error=str(error))
    pixels = tuple(int(mask.sum()) for mask in masks)
    filed = item.filed or ()
    empty = tuple(d for d, count in zip(defects, pixels, strict=True) if d in filed and not count)
    marks = {d: shrunk_marks(mask, factor) for d, mask in enumerate(masks) if pixels[d]}
    own = texture(image, factor, np.logical_or.reduce(list(marks.values())) if marks else None)
    turned = orientation(item.image) != 1
    return ImageFacts("", *shape, pixels, empty, *exact_hash(image), own, marks, turned)
