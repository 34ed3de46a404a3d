"""A listing of files as a Source: split by group, read and fitted image by image."""

import contextlib
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sbp.data.disk.annotations import MaskFile, merged_mask
from sbp.data.disk.content import digests
from sbp.data.disk.decode import image_shape, read_image
from sbp.data.disk.listing import Item, Listing
from sbp.data.disk.resize import FITS, Fitting
from sbp.data.source import SPLITS, Sample
from sbp.data.splits.split_file import SEPARATOR, assign, read_split_file, write_split_file
from sbp.errors import UserError

# Raise this when the same files would give other samples.
LOADER_VERSION = 2

log = logging.getLogger("sbp")


@dataclass(frozen=True)
class Reading:
    """How files become samples. height, width: of the model's images, in pixels; fit: see Fitting (with
    `tile`, samples are as large as the largest image, and at least as the model's); channels: 1 or 3;
    white_level: of 16-bit images; skip_bad: leave unreadable images out instead of stopping."""

    height: int
    width: int
    fit: str = "resize"
    channels: int = 1
    white_level: int | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class Splitting:
    """How images are split. fractions: by split, summing to 1, for sets without splits of their own; by:
    `group` keeps groups together, `image` does not (that leaks where images are related); file: where the
    assignment is kept, None: nowhere."""

    fractions: dict[str, float]
    seed: int = 0
    by: str = "group"
    file: Path | None = None


class ListedSource:
    """A data set on disk as a Source.

    Samples hold images (H, W, C) uint8 and masks (H, W, D) uint8 in {0, 1}. A defect that is marked never
    vanishes in resizing. Raises UserError, before pixels of images are read, for values out of range, names
    that occur twice, an empty split, and a defect that no training image holds. Mask files are read to see
    which defects an image holds, where neither the layout nor the split file says it. memory: see `digests`.
    """

    def __init__(
        self,
        name: str,
        listing: Listing,
        reading: Reading,
        splitting: Splitting,
        memory: Path | None = None,
    ):
        self.name, self.listing, self.reading, self.splitting = name, listing, reading, splitting
        self.memory = memory
        self.defects = listing.defects
        self.skip_bad = reading.skip_bad
        self._check()
        rows = self._known_rows()
        self.looked_again = False
        self.labels = np.array([self._held(item, rows.get(item.name)) for item in listing.items])
        grouped = self._grouped()
        self.splits_of = self._split(grouped, rows)
        self.members = {
            split: [item for item, s in zip(listing.items, self.splits_of, strict=True) if s == split]
            for split in SPLITS
        }
        self._check_splits()
        self._keep_split(grouped, rows)  # not before it is known to be of use

    def _check(self) -> None:
        for defect, times in Counter(self.defects).items():
            if times > 1:
                raise UserError(f"data.defects={defect}: must be there once")
        if self.reading.fit not in FITS:
            raise UserError(f"data.fit={self.reading.fit}: must be one of {', '.join(FITS)}")
        names = Counter(item.name for item in self.listing.items)
        name, times = names.most_common(1)[0]
        if times > 1:
            raise UserError(f"{name}: there are {times} images of that name")
        if min(self.splitting.fractions.values()) <= 0:
            val, test = (self.splitting.fractions[split] for split in ("val", "test"))
            raise UserError(
                f"data.val_fraction={val} data.test_fraction={test}: each must be above 0, both "
                "together below 1"
            )

    def _known_rows(self) -> dict[str, dict[str, str]]:
        file = self.splitting.file
        return read_split_file(file) if file is not None and file.is_file() else {}

    def _grouped(self) -> list[Item]:
        """The items, each in a group of its own if splits are drawn by image."""
        items = self.listing.items
        return list(items) if self.splitting.by == "group" else [replace(i, group=i.name) for i in items]

    def _split(self, grouped: Sequence[Item], rows: dict[str, dict[str, str]]) -> list[str]:
        known = {name: row["split"] for name, row in rows.items()}
        return assign(grouped, self.labels, self.splitting.fractions, self.splitting.seed, known)

    def _keep_split(self, grouped: Sequence[Item], rows: dict[str, dict[str, str]]) -> None:
        """Write the split file if it lacks an image, or says another defect of one than its marks do."""
        file, items = self.splitting.file, self.listing.items
        if file is None:
            return
        new = sum(item.name not in rows for item in items)
        changed = sum(
            item.name in rows and _defects_in(rows[item.name]) != set(self._names(held))
            for item, held in zip(items, self.labels, strict=True)
        )
        if not new and not changed:
            if self.looked_again:  # what was found is as old as the file says
                with contextlib.suppress(OSError):
                    os.utime(file)
            return
        about = f"{new} new images" if rows and new else f"{len(items)} images"
        names = {item.name for item in items}
        gone = [row for name, row in rows.items() if name not in names]
        log.info("split of %s written to %s", about, file)
        write_split_file(file, grouped, self.labels, self.splits_of, self.defects, gone)

    def _names(self, held: Sequence[bool]) -> list[str]:
        return [defect for defect, there in zip(self.defects, held, strict=True) if there]

    def _held(self, item: Item, row: dict[str, str] | None) -> list[bool]:
        """(D,) which defects the image holds. row: of the split file, which spares reading masks that have
        not changed since."""
        if item.filed is not None:
            held = set(item.filed)
        elif row is not None and self._older_than_split(item) and _defects_in(row) <= set(item.marks):
            held = _defects_in(row)
        else:
            self.looked_again = True
            held = {defect for defect, marks in item.marks.items() if self._any_marked(marks)}
        return [defect in held for defect in self.defects]

    @cached_property
    def _split_written_ns(self) -> int:
        file = self.splitting.file
        return os.stat(file).st_ctime_ns if file is not None and file.is_file() else 0

    def _older_than_split(self, item: Item) -> bool:
        """Whether all that marks the image are files that are there, unchanged, since the split file was
        written. (By the time at which their entries changed: copied files may keep the other one.)"""
        marks = [mark for marks in item.marks.values() for mark in marks]
        with contextlib.suppress(OSError):
            return all(
                isinstance(mark, MaskFile) and os.stat(mark.path).st_ctime_ns < self._split_written_ns
                for mark in marks
            )
        return False

    def _any_marked(self, marks: Sequence) -> bool:
        try:
            return any(mark.marks_something() for mark in marks)
        except UserError:
            if self.skip_bad:
                return False
            raise

    def _check_splits(self) -> None:
        for split, items in self.members.items():
            if not items:
                groups = len({item.group for item in self.listing.items})
                raise UserError(
                    f"data.root={self.listing.root}: {groups} groups of images are too few, or the split "
                    f"file is wrong: split {split} is empty"
                )
        train = np.array([split == "train" for split in self.splits_of])
        for d, defect in enumerate(self.defects):
            if not self.labels[train, d].any():
                raise UserError(
                    f"data.defects={defect}: no training image holds it, {int(self.labels[:, d].sum())} "
                    "images do in all; a defect needs images of three groups, to be in each split"
                )

    def describe(self) -> dict[str, Any]:
        """The arguments and a digest of all files' names and bytes, of what a manifest marks, and of the
        split; decodes nothing. Neither the place of the files nor their times are part of it: a copied folder
        is the same data, on any machine."""
        marks = [mark for item in self.listing.items for marks in item.marks.values() for mark in marks]
        files = [item.image for item in self.listing.items]
        files += [mark.path for mark in marks if isinstance(mark, MaskFile)]
        held = dict(zip(files, digests(files, self.memory), strict=True))
        digest = hashlib.sha256()
        for item, split in zip(self.listing.items, self.splits_of, strict=True):
            digest.update(json.dumps([item.name, split, _identity(item, held)]).encode())
        values = vars(self.reading) | {"loader": LOADER_VERSION, "defects": list(self.defects)}
        return values | {"files": digest.hexdigest()}

    @cached_property
    def fitting(self) -> Fitting:
        """How images get the size of the samples. With fit=tile it reads the header of every image."""
        height, width = self.reading.height, self.reading.width
        if self.reading.fit == "tile":
            shapes = [shape for item in self.listing.items if (shape := image_shape(item.image))]
            height, width = (max(pixels) for pixels in zip((height, width), *shapes, strict=True))
        return Fitting(height, width, self.reading.fit)

    def lengths(self) -> dict[str, int]:
        """Number of images of each split."""
        return {split: len(items) for split, items in self.members.items()}

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split`, kind empty. Raises UserError for a file that cannot be trusted."""
        item = self.members[split][index]
        image, masks = read_item(item, self.defects, self.reading.channels, self.reading.white_level)
        fitted = [self.fitting.mask(masks[:, :, d]) for d in range(len(self.defects))]
        return Sample(self.fitting.image(image), np.stack(fitted, axis=2), None, item.name)


def _defects_in(row: dict[str, str]) -> set[str]:
    """What a row of the split file says that the image holds."""
    return set((row["defects"] or "").split(SEPARATOR)) - {""}


def _identity(item: Item, held: dict[Path, str]) -> list:
    """Names and digests of an item's files, and what is said of them. held: the digest of each file."""
    entries: list = [(item.image.name, held[item.image])]
    for defect, marks in item.marks.items():
        for mark in marks:
            if isinstance(mark, MaskFile):
                entries.append([defect, mark.path.name, held[mark.path], mark.value, mark.threshold])
            else:
                entries.append([defect, str(mark)])
    return entries


def read_item(
    item: Item, defects: Sequence[str], channels: int, white_level: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, C) uint8 and masks (H, W, D) bool at their own size. Raises UserError, naming the file."""
    image = read_image(item.image, channels, white_level)
    shape = (image.shape[0], image.shape[1])
    masks = [merged_mask(item.marks.get(defect, ()), shape) for defect in defects]
    return image, np.stack(masks, axis=2)
