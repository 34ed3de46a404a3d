"""The one pass over all files: sizes, annotated pixels, what is unreadable, what the images look like."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sbp.data.audit.fingerprints import SIDE, Orientation, exact_hash, shrunk_mask, texture
from sbp.data.disk.annotations import CocoRuns, Polygons
from sbp.data.disk.decode import orientation, read_image
from sbp.data.disk.listing import Item
from sbp.data.disk.source import Reading, read_item
from sbp.errors import UserError


@dataclass(frozen=True)
class ImageFacts:
    """What one image turned out to be. error: why it cannot be used, then nothing else is known. pixels: (D,)
    annotated ones; unannotated: defects that it is labelled with and has no pixel of. exact, orientation: see
    exact_hash. masks: by the number of each defect that it holds, as large as the texture. contradictions:
    what annotations say of themselves against what they draw. unstable: reading it twice gives other pixels.
    exif: the file's orientation, 1 to 8, 1 if it is to be shown as it is stored; contrasts: of the annotated
    zones as the image is read and the other way, rotated or not, where its size fits both.
    """

    error: str = ""
    height: int = 0
    width: int = 0
    pixels: tuple[int, ...] = ()
    unannotated: tuple[str, ...] = ()
    exact: str = ""
    orientation: Orientation | None = None
    texture: np.ndarray | None = None
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
    unstable: bool = False
    exif: int = 1
    contrasts: tuple[float, float] | None = None


def read_all(
    items: Sequence[Item],
    defects: Sequence[str],
    reading: Reading,
    progress: Callable[[int, int], None],
) -> list[ImageFacts]:
    """Facts of every image, in the order of `items`; memory grows by a small texture per image."""
    factor = _factor(items, reading)
    facts = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding releases the interpreter
        for fact in pool.map(lambda item: _facts(item, defects, reading, factor), items):
            facts.append(fact)
            progress(len(facts), len(items))
    return facts


def _factor(items: Sequence[Item], reading: Reading, sample: int = 50) -> float:
    """The scale at which textures are compared, from a sample of sizes."""
    sides = []
    for item in items[:: max(1, len(items) // sample)]:
        try:
            sides.append(max(_image(item, reading).shape[:2]))
        except UserError:
            continue
    return SIDE / float(np.median(sides)) if sides else 1.0


def _image(item: Item, reading: Reading) -> np.ndarray:
    return read_image(item.image, reading.channels, reading.white_level, reading.exif)


def _facts(item: Item, defects: Sequence[str], reading: Reading, factor: float) -> ImageFacts:
    try:
        image, full, _ = read_item(item, defects, reading)
        again, turned = _image(item, reading), orientation(item.image)
        contrasts = None if turned == 1 else _contrasts(image, np.asarray(full.any(axis=2)), item, reading)
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
        contradictions=tuple(_contradictions(item, defects, full.shape[:2])),
        unstable=not np.array_equal(image, again),
        exif=turned,
        contrasts=contrasts,
    )


def _contradictions(item: Item, defects: Sequence[str], shape: Sequence[int]) -> Iterator[str]:
    for annotation in (a for defect in defects for a in item.annotations.get(defect, ())):
        if not isinstance(annotation, Polygons | CocoRuns) or annotation.said is None:
            continue
        if text := annotation.said.contradiction(annotation.mask((shape[0], shape[1]))):
            yield f"{annotation.where}: {text}"


def _contrasts(
    image: np.ndarray, mask: np.ndarray, item: Item, reading: Reading
) -> tuple[float, float] | None:
    """Of the annotated zones in the image as it is read, and in the one that is read the other way."""
    other = _image(item, replace(reading, exif=not reading.exif))
    if other.shape != image.shape or not mask.any():
        return None
    return _contrast(image, mask), _contrast(other, mask)


def _contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """How far a zone's grey values lie from those around it, in standard deviations of the image."""
    grey, zone = image.mean(axis=2), mask.astype(np.uint8)
    side = 1 + 2 * max(2, max(mask.shape) // 50)
    around = (cv2.dilate(zone, np.ones((side, side), np.uint8)) > 0) & ~mask
    if not around.any():
        return 0.0
    return float(abs(grey[mask].mean() - grey[around].mean()) / (grey.std() + 1e-6))
