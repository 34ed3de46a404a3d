"""Own images: a folder of images and masks of the same stems."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import by_stem, checked_root, expect_some, images_in, subfolders
from sbp.errors import UserError

EXPECTED = (
    "expected are images/NAME.png, and for each defect masks/DEFECT/NAME.png, or one masks/NAME.png with a "
    "value per defect and data.values={DEFECT: VALUE}; an image without a mask is healthy"
)


def list_masks(
    root: str | None,
    defects: Sequence[str],
    *,
    images: str = "images",
    masks: str = "masks",
    values: Mapping[str, int] | None = None,
    threshold: int = 127,
    ignore: Sequence[str] = (),
    group: str | None = None,
) -> Listing:
    """Own images in a folder.

    images, masks: folders below root. With a folder per defect below masks/, pixels above `threshold` mark
    it; with `values`, masks/ holds one file per image, whose value (or palette index) says which defect a
    pixel shows, 0 none. ignore: defects that are marked but not learnt; images that have a mask of theirs
    are left out. group: a regular expression found in the stem; images with the same match (its first group,
    if it has one) stay together in a split. Raises UserError.
    """
    path = checked_root(root, EXPECTED, (images, masks))
    found = by_stem(images_in(path / images))
    expect_some(list(found), path / images, EXPECTED)
    left_out: set[str] = set()
    if values:
        marks = _by_value(path / masks, found, defects, values)
    else:
        marks, left_out = _by_folder(path / masks, found, defects, threshold, ignore)
    items = [
        Item(stem, image, marks.get(stem, {}), group_of(stem, group))
        for stem, image in found.items()
        if stem not in left_out
    ]
    return Listing(path, tuple(defects), items)


def group_of(stem: str, pattern: str | None) -> str:
    """What an image belongs to by its stem; the stem itself without a pattern. Raises UserError if the
    pattern is not found."""
    if pattern is None:
        return stem
    match = re.search(pattern, stem)
    if match is None:
        raise UserError(f"data.group={pattern}: is not found in the name {stem}")
    return match[1] if match.groups() else match[0]


Marks = dict[str, dict[str, tuple[MaskFile, ...]]]


def _by_folder(folder: Path, found, defects, threshold, ignore) -> tuple[Marks, set[str]]:
    there = subfolders(folder)
    for name in [*defects, *ignore]:
        if name not in there:
            holds = ", ".join(there) or "no folder"
            raise UserError(f"data.defects={name}: {folder} has no folder of that name, it holds {holds}")
    for name in there:
        if name not in (*defects, *ignore):
            raise UserError(
                f"{folder / name}: is not in data.defects={list(defects)}; add it, or leave its images out "
                f"with data.ignore=[{name}]"
            )
    marks: Marks = {}
    for defect in defects:
        for stem, path in _masks_of(folder / defect, found).items():
            marks.setdefault(stem, {})[defect] = (MaskFile(path, None, threshold),)
    left_out = {stem for name in ignore for stem in _masks_of(folder / name, found)}
    return marks, left_out


def _by_value(folder: Path, found, defects, values: Mapping[str, int]) -> Marks:
    if set(values) != set(defects):
        raise UserError(f"data.values={dict(values)}: must name each of data.defects={list(defects)}")
    numbers = list(values.values())
    for name, value in values.items():
        if value < 1 or numbers.count(value) > 1:
            raise UserError(f"data.values: {name}={value}: must be above 0 and of one defect only")
    known = tuple(sorted(numbers))
    return {
        stem: {defect: (MaskFile(path, values[defect], known=known),) for defect in defects}
        for stem, path in _masks_of(folder, found).items()
    }


def _masks_of(folder: Path, found: Mapping[str, Path]) -> dict[str, Path]:
    masks = by_stem(images_in(folder))
    for stem, path in masks.items():
        if stem not in found:
            raise UserError(f"{path}: there is no image of that name; a mask has the stem of its image")
    return masks
