"""A listing of files as a Source: split by group, read and resized image by image."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sbp.data.disk.annotations import Annotation, ColourMask, MaskFile, merged_mask
from sbp.data.disk.content import file_digests
from sbp.data.disk.decode import image_shape, orientation, read_image
from sbp.data.disk.known import read_known, unknown_as_void
from sbp.data.disk.listing import Item, Listing
from sbp.data.disk.resize import Resizer
from sbp.data.source import SPLITS, Sample
from sbp.data.splits.grouped import assign
from sbp.data.splits.split_file import SplitFile
from sbp.errors import UserError

# Raise this when the same files would give other samples.
LOADER_VERSION = 3


@dataclass(frozen=True)
class Reading:
    """How files become samples. height, width: of the model's images, in pixels; fit: see Resizer (with
    `tile`, samples are as large as the largest image, and at least as the model's); channels: 1 or 3;
    white_level: of 16-bit images; skip_bad: leave unreadable images out instead of stopping; exif: rotate
    images as their EXIF orientation says, where annotations were drawn on images as they are shown."""

    height: int
    width: int
    fit: str = "resize"
    channels: int = 1
    white_level: int | None = None
    skip_bad: bool = False
    exif: bool = False


@dataclass(frozen=True)
class Splitting:
    """How images are split. fractions: by split, summing to 1, for sets without splits of their own; by:
    `group` keeps groups together, `image` does not (that leaks where images are related); file: where the
    assignment is kept, None: nowhere; official: keep the splits that the set comes with."""

    fractions: dict[str, float]
    seed: int = 0
    by: str = "group"
    file: Path | None = None
    official: bool = True


@dataclass(eq=False)
class ListedSource:
    """A data set on disk as a Source.

    Samples hold images (H, W, C) uint8 and masks (H, W, D) uint8 in {0, 1, VOID}. A defect that is
    annotated never vanishes in resizing. Raises UserError, before pixels of images are read, for values out
    of range, names that occur twice, an empty split, and a defect that no training image holds. Mask files
    are read to see which defects an image holds, where neither the layout nor the split file says it.
    digest_cache: see file_digests. known_file: see sbp.data.disk.known.
    """

    name: str
    listing: Listing
    reading: Reading
    splitting: Splitting
    digest_cache: Path | None = None
    known_file: Path | None = None

    def __post_init__(self) -> None:
        self.defects, self.skip_bad = self.listing.defects, self.reading.skip_bad
        items, splitting = list(self.listing.items), self.splitting
        self.first_bad = ""  # of the annotations
        for name, times in Counter(item.name for item in items).items():
            if times > 1:
                raise UserError(f"{name}: there are {times} images of that name")
        if min(splitting.fractions.values()) <= 0:
            val, test = splitting.fractions["val"], splitting.fractions["test"]
            keys = f"data.val_fraction={val} data.test_fraction={test}"
            raise UserError(f"{keys}: each must be above 0, both together below 1")
        names = {item.name for item in items}
        self.known = {} if self.known_file is None else read_known(self.known_file, self.defects, names)
        file = SplitFile(splitting.file)
        held = [self._defects_of(item, file) for item in items]
        self.labels = np.array([[defect in found for defect in self.defects] for found in held])
        if not splitting.official:
            items = [replace(item, split=None) for item in items]
        if splitting.by == "image":  # each is a group of its own
            items = [replace(item, group=item.name) for item in items]
        self.splits_of = assign(items, self.labels, splitting.fractions, splitting.seed, file.splits())
        self.members: dict[str, list[Item]] = {split: [] for split in SPLITS}
        for item, split in zip(self.listing.items, self.splits_of, strict=True):
            self.members[split].append(item)
        self._check_splits()
        file.update(items, self.labels, self.splits_of, self.defects)  # not before it is known to be of use

    def _defects_of(self, item: Item, file: SplitFile) -> set[str]:
        """The defects that the image holds, by its labels, the split file, or its annotations."""
        if item.labels is not None:
            return set(item.labels)
        if (held := file.defects_of(item)) is not None:
            return held
        return {defect for defect, found in item.annotations.items() if not self._all_empty(found)}

    def _all_empty(self, annotations: Sequence[Annotation]) -> bool:
        try:
            return all(annotation.is_empty() for annotation in annotations)
        except UserError as error:
            if self.skip_bad:
                self.first_bad = self.first_bad or str(error)
                return True
            raise

    def _check_splits(self) -> None:
        for split, items in self.members.items():
            if not items:
                groups = len({item.group for item in self.listing.items})
                reason = f"{groups} groups of images are too few, or the split file is wrong"
                raise UserError(f"data.root={self.listing.root}: {reason}: split {split} is empty")
        train = np.array(self.splits_of) == "train"
        for d, defect in enumerate(self.defects):
            if not self.labels[train, d].any():
                if self.first_bad:  # the cause, not what follows from it
                    raise UserError(f"{self.first_bad} (so no training image holds {defect})")
                raise UserError(
                    f"data.defects={defect}: no training image holds it, {int(self.labels[:, d].sum())} "
                    "images do in all; a defect needs images of three groups, to be in each split"
                )

    def describe(self) -> dict[str, Any]:
        """The arguments and a digest of all files' names and bytes, of what a table or COCO file annotates,
        and of the split; decodes nothing. Neither the place of the files nor their times are part of it: a
        copied folder is the same data, on any machine."""
        items = self.listing.items
        files = [item.image for item in items]
        files += [
            a.path
            for item in items
            for found in (*item.annotations.values(), item.void)
            for a in found
            if a.path
        ]
        digest_of = dict(zip(files, file_digests(files, self.digest_cache), strict=True))
        digest = hashlib.sha256()
        for item, split in zip(items, self.splits_of, strict=True):
            digest.update(json.dumps([item.name, split, _identity(item, digest_of)]).encode())
        values = vars(self.reading) | {"loader": LOADER_VERSION, "defects": list(self.defects)}
        if self.known:
            values["known"] = {name: sorted(known) for name, known in sorted(self.known.items())}
        return values | {"files": digest.hexdigest()}

    @cached_property
    def resizer(self) -> Resizer:
        """How images get the size of the samples. With fit=tile it reads the header of every image."""
        height, width, exif = self.reading.height, self.reading.width, self.reading.exif
        if self.reading.fit == "tile":
            shapes = [shape for item in self.listing.items if (shape := image_shape(item.image, exif))]
            height, width = (max(pixels) for pixels in zip((height, width), *shapes, strict=True))
        return Resizer(height, width, self.reading.fit)

    def lengths(self) -> dict[str, int]:
        return {split: len(items) for split, items in self.members.items()}

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split`, kind empty. Raises UserError for a file that cannot be trusted."""
        item = self.members[split][index]
        read = read_item(item, self.defects, self.reading)
        image, masks = self.resizer.image(read.image), self.resizer.masks(read.masks, read.void)
        if item.name in self.known:
            masks = unknown_as_void(masks, self.defects, self.known[item.name])
        return Sample(image, masks, None, item.name, note=exif_note(item.image, self.reading.exif))


def _identity(item: Item, digest_of: dict[Path, str]) -> list:
    """Names and digests of an item's files, and what is said of them."""
    entries: list = [(item.image.name, digest_of[item.image])]
    for defect, annotations in [*item.annotations.items(), *([("", item.void)] if item.void else [])]:
        for a in annotations:
            if isinstance(a, MaskFile):
                said = [a.value, a.threshold] if a.void is None else [a.value, a.threshold, a.void]
                entries.append([defect, a.path.name, digest_of[a.path], *said])
            elif isinstance(a, ColourMask):
                entries.append([defect, a.path.name, digest_of[a.path], a.colour])
            else:
                entries.append([defect, str(a)])
    return entries


class ReadItem(NamedTuple):
    """image: (H, W, C) uint8; masks: (H, W, D) bool; void: (H, W) bool, or None where all is known."""

    image: np.ndarray
    masks: np.ndarray
    void: np.ndarray | None


def read_item(item: Item, defects: Sequence[str], reading: Reading) -> ReadItem:
    """Image and masks at their own size. Raises UserError, naming the file."""
    image = read_image(item.image, reading.channels, reading.white_level, reading.exif)
    shape = (image.shape[0], image.shape[1])
    try:
        masks = [merged_mask(item.annotations.get(defect, ()), shape) for defect in defects]
        void = merged_mask(item.void, shape) if item.void else None
    except UserError as error:
        if (turned := orientation(item.image)) == 1:
            raise
        how, other = ("shown", "ignore") if reading.exif else ("stored", "apply")
        raise UserError(
            f"{error}; {item.image.name} has the EXIF orientation {turned} and was read as it is {how}, try "
            f"data.exif={other}"
        ) from None
    return ReadItem(image, np.stack(masks, axis=2), void)


def exif_note(path: Path, applied: bool) -> str:
    """What to know of an image that says that it is to be shown rotated or flipped; empty for others."""
    if orientation(path) == 1:
        return ""
    how = "as they are shown (data.exif=apply)" if applied else "as they are stored (data.exif=ignore)"
    return f"images that are to be shown rotated (EXIF) are read {how}; sbp data check compares both ways"
