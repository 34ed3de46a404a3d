"""Entries of COCO files: ids, fields, and what an annotation draws."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import Annotation, CocoRuns, Polygons
from sbp.data.disk.claims import Claims
from sbp.errors import UserError

HEAD = 1_000_000
"""Bytes of a file in which its keys are looked for."""


def looks_like_coco(path: Path) -> bool:
    """Whether a JSON file has the keys of a COCO file; a large one is not read whole for that."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(HEAD)
    except (OSError, UnicodeDecodeError):
        return False
    whole = len(text) < HEAD
    found = [f'"{key}"' in text for key in ("images", "annotations", "categories")]
    return '"shapes"' not in text and (all(found) if whole else any(found))


def id_of(entry: Any, key: str, where: str) -> str:
    """An id, a number or a text, as text: exporters mix 1, 1.0 and "1"."""
    value = field_of(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UserError(f"{where}: {key} must be a number or a text, not {str(value)[:40]}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def field_of(entry: Any, key: str, where: str) -> Any:
    """What an entry has under a key. Raises UserError if it has nothing there."""
    if not isinstance(entry, Mapping) or key not in entry:
        raise UserError(f"{where}: {key} is missing")
    return entry[key]


def annotation_of(entry: Mapping, image: Mapping, where: str) -> Annotation:
    """What an entry of `annotations` draws. Raises UserError, beginning with `where`, if it draws nothing."""
    segmentation = field_of(entry, "segmentation", where)
    if isinstance(segmentation, list) and segmentation:
        outlines = tuple(_outline(outline, where) for outline in segmentation)
        return Polygons(outlines, where, _size(image), said=_claims(entry))
    if isinstance(segmentation, Mapping) and {"counts", "size"} <= set(segmentation):
        counts, size = segmentation["counts"], segmentation["size"]
        if not _whole_numbers(size) or len(size) != 2:
            raise UserError(f"{where}: size must be [height, width], not {str(size)[:40]}")
        if not isinstance(counts, str) and not _whole_numbers(counts):
            raise UserError(f"{where}: counts must be whole numbers, or COCO's text form")
        runs = counts if isinstance(counts, str) else tuple(int(n) for n in counts)
        return CocoRuns(runs, (int(size[0]), int(size[1])), where, _claims(entry))
    raise UserError(f"{where}: has no segmentation; boxes alone cannot train a segmentation")


def _claims(entry: Mapping) -> Claims | None:
    """Box and area as far as the entry says them; a box without extent says nothing."""
    values, area = entry.get("bbox"), entry.get("area")
    box = None
    if isinstance(values, list) and len(values) == 4 and all(map(_number, values)) and min(values[2:]) > 0:
        left, top, width, height = map(float, values)
        box = (left, top, width, height)
    said = Claims(box, float(area) if area is not None and _number(area) and area > 0 else None)
    return said if said != Claims() else None


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
