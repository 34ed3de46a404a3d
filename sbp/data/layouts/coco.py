"""Own images with a COCO annotation file: polygons and run lengths."""

import json
import math
import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import Annotation, CocoRuns, Polygons
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout, check_group, group_of
from sbp.data.layouts.files import expect_chosen, inside
from sbp.errors import UserError


@LAYOUTS.register("coco")
@dataclass(frozen=True)
class Coco(Layout):
    """annotations: the COCO file; images: the folder of its images, both below the root. val_annotations,
    test_annotations: files of official splits, then `annotations` is that of training. ignore: categories
    that are not learnt; images that have one are left out. group: as in the layout `masks`."""

    annotations: str = "annotations.json"
    val_annotations: str | None = None
    test_annotations: str | None = None
    images: str = "images"
    ignore: list[str] = field(default_factory=list)
    group: str | None = None

    expected = (
        "expected is a COCO annotation file, data.annotations=annotations.json, with images, categories and "
        "annotations, and the images below data.root/images"
    )
    folders = ("{images}",)

    def __post_init__(self) -> None:
        check_group(self.group)

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        files = {"train": self.annotations, "val": self.val_annotations, "test": self.test_annotations}
        official = self.val_annotations is not None or self.test_annotations is not None
        items: list[Item] = []
        for split, name in files.items():
            if name is not None:
                content = self._content(inside(root, name, "data.annotations"))
                items += self._items(content, root / self.images, defects, name, split if official else None)
        return items

    def _content(self, path: Path) -> dict[str, list[dict[str, Any]]]:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: is not valid JSON ({' '.join(str(error).split())[:100]})") from None
        for key in ("images", "categories", "annotations"):
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise UserError(f"{path}: has no list {key}; {self.expected}")
        return content

    def _items(self, content, folder: Path, defects, file: str, split: str | None) -> list[Item]:
        categories = _categories(content["categories"], defects, self.ignore, file)
        images = _by_id(content["images"], "image", file)
        held: dict[Any, dict[str, tuple[Annotation, ...]]] = defaultdict(dict)
        for entry in content["annotations"]:
            number = entry.get("id", "?") if isinstance(entry, Mapping) else "?"
            where = f"{file}, annotation {number}"
            image = _referred(entry, "image_id", images, "images", where)
            defect = _referred(entry, "category_id", categories, "categories", where)
            # those of ignored categories are there without being read, so that their images are left out
            read = (_annotation(entry, image, where),) if defect in defects else ()
            of_image = held[image["id"]]
            of_image[defect] = of_image.get(defect, ()) + read
        return [
            self._item(image, folder, held[key], file, split)
            for key, image in images.items()
            if set(held[key]) <= set(defects)
        ]

    def _item(self, image: Mapping, folder: Path, held, file: str, split: str | None) -> Item:
        name = posixpath.normpath(str(_field(image, "file_name", file)))  # ./a.png is a.png
        path = inside(folder, name, f"{file}, image {image['id']}")
        return Item(name, path, held, group_of(Path(name).stem, self.group), split, tuple(held))


def _referred(entry: Any, key: str, known: Mapping[Any, Any], what: str, where: str) -> Any:
    """What an annotation's `key` is the id of."""
    value = _id(entry, key, where)
    if value not in known:
        raise UserError(f"{where}: {key} {value} is not among the {what}")
    return known[value]


def _categories(entries, defects, ignore, file: str) -> dict[Any, str]:
    by_id = _by_id(entries, "category", file)
    categories = {key: str(_field(entry, "name", file)) for key, entry in by_id.items()}
    for defect in defects:
        if defect not in categories.values():
            there = ", ".join(categories.values())
            raise UserError(f"data.defects={defect}: {file} has the categories {there}")
    for name in categories.values():
        expect_chosen(name, defects, ignore, f"{file}: category {name}")
    return categories


def _by_id(entries: Sequence, what: str, file: str) -> dict[Any, Mapping]:
    found: dict[Any, Mapping] = {}
    for entry in entries:
        key = _id(entry, "id", file)
        if key in found:
            raise UserError(f"{file}: the id {key} is that of more than one {what}; ids must be unique")
        found[key] = entry
    return found


def _id(entry: Mapping, key: str, where: str) -> Any:
    """An id: a number or a text."""
    value = _field(entry, key, where)
    if not isinstance(value, int | float | str):
        raise UserError(f"{where}: {key} must be a number or a text, not {str(value)[:40]}")
    return value


def _field(entry: Mapping, key: str, where: str) -> Any:
    if not isinstance(entry, Mapping) or key not in entry:
        raise UserError(f"{where}: {key} is missing")
    return entry[key]


def _annotation(entry: Mapping, image: Mapping, where: str) -> Annotation:
    segmentation = _field(entry, "segmentation", where)
    if isinstance(segmentation, list) and segmentation:
        return Polygons(tuple(_outline(outline, where) for outline in segmentation), where, _size(image))
    if isinstance(segmentation, Mapping) and {"counts", "size"} <= set(segmentation):
        counts, size = segmentation["counts"], segmentation["size"]
        if not _whole_numbers(size) or len(size) != 2:
            raise UserError(f"{where}: size must be [height, width], not {str(size)[:40]}")
        if not isinstance(counts, str) and not _whole_numbers(counts):
            raise UserError(f"{where}: counts must be whole numbers, or COCO's text form")
        runs = counts if isinstance(counts, str) else tuple(int(n) for n in counts)
        return CocoRuns(runs, (int(size[0]), int(size[1])), where)
    raise UserError(f"{where}: has no segmentation; boxes alone cannot train a segmentation")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole_numbers(values: Any) -> bool:
    """Whether it is a list of whole numbers (7.0 is one)."""
    return isinstance(values, list) and all(_number(n) and float(n).is_integer() for n in values)


def _outline(outline: Any, where: str) -> tuple[float, ...]:
    if not isinstance(outline, list) or not all(map(_number, outline)):
        raise UserError(f"{where}: a polygon must be a list of numbers, x0, y0, x1, y1 and so on")
    return tuple(map(float, outline))


def _size(image: Mapping) -> tuple[int, int] | None:
    """Height and width in which the image was annotated, if the file says it."""
    height, width = image.get("height"), image.get("width")
    known = _whole_numbers([height, width]) and height and width
    return (int(height), int(width)) if known else None  # type: ignore[arg-type]
