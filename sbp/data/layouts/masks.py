"""Own images: a folder of images and masks of the same stems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, THRESHOLD, Layout, check_group, check_threshold, group_of
from sbp.data.layouts.files import by_stem, expect_chosen, expect_some, images_in, subfolders
from sbp.errors import UserError

Annotations = dict[str, dict[str, tuple[MaskFile, ...]]]
"""By the stem of the image, then by defect."""


@LAYOUTS.register("masks")
@dataclass(frozen=True)
class Masks(Layout):
    """images, masks: folders below the root. With a folder per defect below masks/, pixels above `threshold`
    are annotated; with `values`, masks/ holds one file per image, whose value (or palette index) says which
    defect a pixel shows, 0 none. ignore: defects that are annotated but not learnt; images that have a mask
    of theirs are left out. group: a regular expression found in the stem; images with the same match (its
    first group, if it has one) stay together in a split."""

    images: str = "images"
    masks: str = "masks"
    values: dict[str, int] = field(default_factory=dict)
    threshold: int = THRESHOLD
    ignore: list[str] = field(default_factory=list)
    group: str | None = None

    expected = (
        "expected are images/NAME.png, and for each defect masks/DEFECT/NAME.png, or one masks/NAME.png with "
        "a value per defect and data.values={DEFECT: VALUE}; an image without a mask is healthy"
    )
    folders = ("{images}", "{masks}")

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_group(self.group)

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        images = by_stem(images_in(root / self.images))
        expect_some(list(images), root / self.images, self.expected)
        left_out: set[str] = set()
        if self.values:
            held = _by_value(root / self.masks, images, defects, self.values)
        else:
            held, left_out = self._by_folder(root / self.masks, images, defects)
        return [
            Item(stem, image, held.get(stem, {}), group_of(stem, self.group))
            for stem, image in images.items()
            if stem not in left_out
        ]

    def _by_folder(self, folder: Path, images, defects: Sequence[str]) -> tuple[Annotations, set[str]]:
        """The annotations, and the images that are left out."""
        there, ignore = subfolders(folder), self.ignore
        for name in [*defects, *ignore]:
            if name not in there:
                holds = ", ".join(there) or "no folder"
                raise UserError(f"data.defects={name}: {folder} has no folder of that name, it holds {holds}")
        for name in there:
            expect_chosen(name, defects, ignore, f"{folder / name}:")
        held: Annotations = {}
        for defect in defects:
            for stem, path in _masks_in(folder / defect, images).items():
                held.setdefault(stem, {})[defect] = (MaskFile(path, threshold=self.threshold),)
        return held, {stem for name in ignore for stem in _masks_in(folder / name, images)}


def _by_value(folder: Path, images, defects: Sequence[str], values: Mapping[str, int]) -> Annotations:
    if set(values) != set(defects):
        raise UserError(f"data.values={dict(values)}: must name each of data.defects={[*defects]}")
    numbers = sorted(values.values())
    for name, value in values.items():
        if value < 1 or numbers.count(value) > 1:
            raise UserError(f"data.values: {name}={value}: must be above 0 and of one defect only")
    return {
        stem: {defect: (MaskFile(path, values[defect], known=tuple(numbers)),) for defect in defects}
        for stem, path in _masks_in(folder, images).items()
    }


def _masks_in(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    masks = by_stem(images_in(folder))
    for stem, path in masks.items():
        if stem not in images:
            raise UserError(f"{path}: there is no image of that name; a mask has the stem of its image")
    return masks
