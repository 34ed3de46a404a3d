"""The one pass over all files: sizes, annotated pixels, what is unreadable, what the images look like."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from sbp.data.audit.fingerprints import SIDE, Orientation, exact_hash, shrunk_mask, texture
from sbp.data.disk.decode import orientation, read_image
from sbp.data.disk.listing import Item
from sbp.data.disk.source import read_item
from sbp.errors import UserError


@dataclass(frozen=True)
class ImageFacts:
    """What one image turned out to be. error: why it cannot be used, then nothing else is known. pixels: (D,)
    annotated ones; unannotated: defects that it is labelled with and has no pixel of. exact, orientation: see
    exact_hash. masks: by the number of each defect that it holds, as large as the texture. exif_rotated: the
    file says that it is to be shown rotated or flipped."""

    error: str = ""
    height: int = 0
    width: int = 0
    pixels: tuple[int, ...] = ()
    unannotated: tuple[str, ...] = ()
    exact: str = ""
    orientation: Orientation | None = None
    texture: np.ndarray | None = None
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)
    exif_rotated: bool = False


def read_all(
    items: Sequence[Item],
    defects: Sequence[str],
    channels: int,
    white_level: int | None,
    progress: Callable[[int, int], None],
) -> list[ImageFacts]:
    """Facts of every image, in the order of `items`; memory grows by a small texture per image."""
    factor = _factor(items, channels, white_level)
    facts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding releases the interpreter
        for fact in pool.map(lambda item: _facts(item, defects, channels, white_level, factor), items):
            facts.append(fact)
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
        image, full = read_item(item, defects, channels, white_level)
    except UserError as error:
        return ImageFacts(error=str(error))
    pixels = tuple(full.sum(axis=(0, 1)).tolist())
    masks = {d: shrunk_mask(full[:, :, d], factor) for d, count in enumerate(pixels) if count}
    exact, oriented = exact_hash(image)
    return ImageFacts(
        height=image.shape[0],
        width=image.shape[1],
        pixels=pixels,
        unannotated=tuple(d for d in item.labels or () if d in defects and not pixels[defects.index(d)]),
        exact=exact,
        orientation=oriented,
        texture=texture(image, factor, np.logical_or.reduce(list(masks.values())) if masks else None),
        masks=masks,
        exif_rotated=orientation(item.image) != 1,
    )
