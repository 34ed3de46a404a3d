"""Own images with a COCO annotation file: polygons and run lengths."""

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import CocoRuns, Mark, Polygons
from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import checked_root, expect_some, inside
from sbp.data.layouts.masks import group_of
from sbp.errors import UserError

EXPECTED = (
    "expected is a COCO annotation file, data.annotations=annotations.json, with images, categories and "
    "annotations, and the images below data.root/images"
)


def list_coco(
    root: str | None,
    defects: Sequence[str],
    *,
    annotations: str = "annotations.json",
    val_annotations: str | None = None,
    test_annotations: str | None = None,
    images: str = "images",
    ignore: Sequence[str] = (),
    group: str | None = None,
) -> Listing:
    """Images of COCO files below root. val_annotations, test_annotations: files of official splits, then
    `annotations` is that of training. ignore: categories that are not learnt; images that have one are left
    out. Raises UserError."""
    path = checked_root(root, EXPECTED, (images,))
    files = {"train": annotations, "val": val_annotations, "test": test_annotations}
    official = val_annotations is not None or test_annotations is not None
    items: list[Item] = []
    for split, name in files.items():
        if name is not None:
            content = _content(inside(path, name, "data.annotations"))
            items += _items(content, path / images, defects, ignore, group, name, split if official else None)
    expect_some(items, path, EXPECTED)
    return Listing(path, tuple(defects), items)


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({' '.join(str(error).split())[:100]})") from None
    for key in ("images", "categories", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{path}: has no list {key}; {EXPECTED}")
    return content


def _items(content, folder: Path, defects, ignore, group, file: str, split: str | None) -> list[Item]:
    categories = _categories(content["categories"], defects, ignore, file)
    marks: dict[Any, dict[str, list[Mark]]] = {}
    left_out = set()
    images = _by_id(content["images"], "image", file)
    for annotation in content["annotations"]:
        number = annotation.get("id", "?") if isinstance(annotation, Mapping) else "?"
        where = f"{file}, annotation {number}"
        image = images.get(_key(annotation, "image_id", where))
        if image is None:
            raise UserError(f"{where}: image_id {annotation['image_id']} is not among the images")
        category = _key(annotation, "category_id", where)
        if category not in categories:
            raise UserError(f"{where}: category_id {category} is not among the categories")
        defect = categories[category]
        if defect in defects:
            marks.setdefault(image["id"], {}).setdefault(defect, []).append(_mark(annotation, image, where))
        else:
            left_out.add(image["id"])
    return [
        _item(image, folder, marks.get(key, {}), group, file, split)
        for key, image in images.items()
        if key not in left_out
    ]


def _item(image: Mapping, folder: Path, marks, group, file: str, split: str | None) -> Item:
    name = posixpath.normpath(str(_field(image, "file_name", file)))  # ./a.png is a.png
    path = inside(folder, name, f"{file}, image {image['id']}")
    held = {defect: tuple(found) for defect, found in marks.items()}
    stem = Path(name).stem
    return Item(name, path, held, group_of(stem, group), split, tuple(held))


def _categories(entries, defects, ignore, file: str) -> dict[Any, str]:
    by_id = _by_id(entries, "category", file)
    categories = {key: str(_field(entry, "name", file)) for key, entry in by_id.items()}
    for defect in defects:
        if defect not in categories.values():
            there = ", ".join(categories.values())
            raise UserError(f"data.defects={defect}: {file} has the categories {there}")
    for name in categories.values():
        if name not in (*defects, *ignore):
            raise UserError(
                f"{file}: category {name} is not in data.defects={list(defects)}; add it, or leave its "
                f"images out with data.ignore=[{name}]"
            )
    return categories


def _by_id(entries: Sequence, what: str, file: str) -> dict[Any, Mapping]:
    found: dict[Any, Mapping] = {}
    for entry in entries:
        key = _key(entry, "id", file)
        if key in found:
            raise UserError(f"{file}: the id {key} is that of more than one {what}; ids must be unique")
        found[key] = entry
    return found


def _key(entry: Mapping, key: str, where: str) -> Any:
    """An id: a number or a text."""
    value = _field(entry, key, where)
    if not isinstance(value, int | float | str):
        raise UserError(f"{where}: {key} must be a number or a text, not {str(value)[:40]}")
    return value


def _field(entry: Mapping, key: str, where: str) -> Any:
    if not isinstance(entry, Mapping) or key not in entry:
        raise UserError(f"{where}: {key} is missing")
    return entry[key]


def _mark(annotation: Mapping, image: Mapping, where: str) -> Mark:
    segmentation = _field(annotation, "segmentation", where)
    if isinstance(segmentation, list) and segmentation:
        return Polygons(tuple(_outline(outline, where) for outline in segmentation), where, _size(image))
    if isinstance(segmentation, Mapping) and {"counts", "size"} <= set(segmentation):
        counts, size = segmentation["counts"], segmentation["size"]
        if not _numbers(size) or len(size) != 2:
            raise UserError(f"{where}: size must be [height, width], not {str(size)[:40]}")
        if not isinstance(counts, str) and not _numbers(counts):
            raise UserError(f"{where}: counts must be whole numbers, or COCO's text form")
        runs = counts if isinstance(counts, str) else tuple(int(n) for n in counts)
        return CocoRuns(runs, (int(size[0]), int(size[1])), where)
    raise UserError(f"{where}: has no segmentation; boxes alone cannot train a segmentation")


def _numbers(values: Any) -> bool:
    """Whether it is a list of whole numbers (7.0 is one)."""
    return isinstance(values, list) and all(
        isinstance(n, int | float) and not isinstance(n, bool) and float(n).is_integer() for n in values
    )


def _outline(outline: Any, where: str) -> tuple[float, ...]:
    numbers = isinstance(outline, list) and all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in outline
    )
    if not numbers:
        raise UserError(f"{where}: a polygon must be a list of numbers, x0, y0, x1, y1 and so on")
    return tuple(map(float, outline))


def _size(image: Mapping) -> tuple[int, int] | None:
    """Height and width in which the image was annotated, if the file says it."""
    height, width = image.get("height"), image.get("width")
    known = _numbers([height, width]) and height and width
    return (int(height), int(width)) if known else None  # type: ignore[arg-type]
