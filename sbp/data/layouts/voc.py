"""Pascal VOC and CVAT's "Segmentation mask": a colour per defect, named in a label map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbp.data.disk.annotations import ColourMask
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, OwnImages
from sbp.data.layouts.files import SPLIT_NAMES, by_key, expect_known, files_below, images_below
from sbp.errors import UserError

FOLDERS = ("JPEGImages", "images", ".")
"""Where images may lie: CVAT leaves them out unless asked, and users add them."""
BACKGROUND = ("background", "_background_")
VOID_NAMES = ("void", "ignore", "unlabeled", "unlabelled")
VOC_VOID = 0xE0E0C0
"""The colour of borders and doubtful zones in Pascal VOC's masks."""
VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@LAYOUTS.register("voc")
@dataclass(frozen=True)
class Voc(OwnImages):
    """SegmentationClass/NAME.png with a colour per defect, labelmap.txt with their names, images in
    JPEGImages/ or images/. Lists in ImageSets/Segmentation called train, val or test are official splits; of
    images that no list names, none is taken. Labels called void or ignore, and Pascal VOC's own colour for
    that, do not count. ignore: labels that are not learnt; their images are left out. group, group_size: see
    group_of."""

    label_map: str = "labelmap.txt"
    expected = (
        "expected are SegmentationClass/NAME.png with a colour per defect, labelmap.txt with lines "
        "'defect:255,0,0::', and the images in JPEGImages/ or images/ (CVAT: Segmentation mask 1.1)"
    )
    folders = ("SegmentationClass",)

    def defects_in(self, root: Path) -> list[str]:
        return [name for name in _colours(root / self.label_map) if _is_defect(name, self.ignore)]

    @classmethod
    def recognised(cls, root: Path) -> "Voc | None":
        return cls() if (root / "SegmentationClass").is_dir() else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        colours = _colours(root / self.label_map)
        expect_known(
            [*defects, *self.ignore],
            [name for name in colours if _is_defect(name)],
            f"{self.label_map} has the labels",
        )
        for name in colours:
            if _is_defect(name) and name not in (*defects, *self.ignore):
                way_out = f"add it, or leave its images out with data.ignore=[{name}]"
                raise UserError(f"{self.label_map}: {name} is not in data.defects={[*defects]}; {way_out}")
        folder = next(root / name for name in FOLDERS if (root / name).is_dir())
        images = by_key(folder, images_below(folder))
        masks = by_key(root / "SegmentationClass", images_below(root / "SegmentationClass"))
        if folder == root:  # then the masks are below it, too
            images = {k: path for k, path in images.items() if not k.startswith("Segmentation")}
        for key, path in masks.items():
            if key not in images:
                raise UserError(f"{path}: there is no image of that name in {folder}")
        splits = _lists(root / "ImageSets" / "Segmentation")
        items = []
        for key, image in images.items():
            if splits and key not in splits:
                continue
            item = self._item(key, image, masks.get(key), colours, defects, splits.get(key))
            if item is not None:
                items.append(item)
        return items

    def _item(self, key, image: Path, mask: Path | None, colours, defects, split) -> Item | None:
        group = self.group_of(key)
        if mask is None:
            return Item(key, image, {}, group, split)
        known = (*colours.values(), 0, VOC_VOID)

        def of(name: str) -> ColourMask:
            return ColourMask(mask, colours[name], known)

        if any(not of(name).is_empty() for name in self.ignore if name in colours):
            return None
        void = [of(name) for name in colours if name.lower() in VOID_NAMES]
        void.append(ColourMask(mask, VOC_VOID, known))
        return Item(key, image, {d: (of(d),) for d in defects}, group, split, None, tuple(void))


def _is_defect(name: str, ignore: Sequence[str] = ()) -> bool:
    return name.lower() not in (*BACKGROUND, *VOID_NAMES) and name not in ignore


def _colours(file: Path) -> dict[str, int]:
    """0xRRGGBB by label, of the label map, else Pascal VOC's own twenty."""
    if not file.is_file():
        return {name: _voc_colour(number) for number, name in enumerate(VOC_NAMES, 1)}
    found: dict[str, int] = {}
    for row, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        try:
            red, green, blue = (int(number) for number in numbers)
        except ValueError:
            raise UserError(
                f"{file}, line {row}: must be 'name:red,green,blue::', not {line[:40]!r}"
            ) from None
        if not all(0 <= value <= 255 for value in (red, green, blue)):
            raise UserError(f"{file}, line {row}: colours go from 0 to 255")
        colour = red << 16 | green << 8 | blue
        if colour in found.values():
            other = next(known for known, value in found.items() if value == colour)
            raise UserError(f"{file}, line {row}: {name} has the colour of {other}")
        found[name.strip()] = colour
    return found


def _voc_colour(number: int) -> int:
    """The colour of a class in Pascal VOC's masks: bits of its number, spread over red, green and blue."""
    colour = 0
    for bit in range(8):
        for channel in range(3):
            if number >> (3 * bit + channel) & 1:
                colour |= 1 << (16 - 8 * channel + 7 - bit)
    return colour


def _lists(folder: Path) -> Mapping[str, str | None]:
    """The split of each image that a list names, None for a list of another name (CVAT's default.txt)."""
    splits: dict[str, str | None] = {}
    for file in files_below(folder, ".txt") if folder.is_dir() else []:
        split = SPLIT_NAMES.get(file.stem.lower())
        for line in file.read_text(encoding="utf-8-sig").splitlines():
            if name := line.strip():
                splits[name] = split or splits.get(name)
    return splits
