"""Labelme: a JSON file beside each image that was annotated."""

import base64
import binascii
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import Annotation, CroppedMask, Polygons
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, OwnImages
from sbp.data.layouts.files import by_key, expect_chosen, expect_known, files_below, images_below, read_json
from sbp.errors import UserError
from sbp.plugins.checks import one_of

CIRCLE_POINTS = 64
Point = tuple[float, float]


@LAYOUTS.register("labelme")
@dataclass(frozen=True)
class Labelme(OwnImages):
    """Images and JSON files anywhere below the root, polygons, circles and masks. unannotated: images without
    a JSON file are `healthy`, or are left out (`skip`). ignore: labels that are not learnt; their images are
    left out. group, group_size: see group_of."""

    unannotated: str = "healthy"
    expected = "expected are images and, beside those that show a defect, labelme's NAME.json"
    drawn_as_shown = True

    def __post_init__(self) -> None:
        one_of("unannotated", self.unannotated, ("healthy", "skip"))
        super().__post_init__()

    def defects_in(self, root: Path) -> list[str]:
        labels = {shape.label for _, shapes in _contents(root) for shape in shapes}
        return sorted(labels - set(self.ignore))

    @classmethod
    def recognised(cls, root: Path) -> "Labelme | None":
        return cls() if next(_contents(root, damaged="pass"), None) else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        images = by_key(root, images_below(root))
        held: dict[str, dict[str, tuple[Annotation, ...]]] = {}
        contents = list(_contents(root))
        there = {shape.label for _, shapes in contents for shape in shapes}
        expect_known([*defects, *self.ignore], there, f"{root} has the labels")
        for (file, content), shapes in contents:
            key = _image_of(file, content, root, images)
            if key in held:
                raise UserError(f"{file}: {images[key].name} is annotated by more than one file")
            held[key] = {}
            for shape in shapes:
                expect_chosen(shape.label, defects, self.ignore, f"{shape.where}: label {shape.label}")
                read = (shape.annotation(content),) if shape.label in defects else ()
                held[key][shape.label] = held[key].get(shape.label, ()) + read
        return [
            Item(key, image, found, self.group_of(key), None, tuple(found))
            for key, image in images.items()
            if set(found := held.get(key, {})) <= set(defects)
            and (key in held or self.unannotated == "healthy")
        ]


@dataclass(frozen=True)
class _Shape:
    """An entry of a file's list `shapes`."""

    label: str
    entry: Mapping[str, Any]
    where: str

    def annotation(self, content: Mapping[str, Any]) -> Annotation:
        kind = self.entry.get("shape_type") or "polygon"
        points = _points(self.entry.get("points"), self.where)
        size = _size(content)
        if kind == "polygon":
            return Polygons((_flat(points),), self.where, size)
        if kind == "circle" and len(points) == 2:
            return Polygons((_flat(_circle(*points)),), self.where, size)
        if kind == "mask" and len(points) == 2:
            return CroppedMask(_decoded(self.entry.get("mask"), self.where), points[0], self.where, size)
        if kind == "rectangle":
            raise UserError(f"{self.where}: is a rectangle; boxes alone cannot train a segmentation")
        raise UserError(f"{self.where}: is a {kind}, which has no area; must be a polygon, circle or mask")


def _contents(
    root: Path, damaged: str = "refuse"
) -> Iterator[tuple[tuple[Path, Mapping[str, Any]], list[_Shape]]]:
    """Each of labelme's files, its content and shapes; other JSON files are passed over. damaged: what to do
    about a file that is no JSON: refuse, or pass."""
    for file in files_below(root, ".json"):
        try:
            content = read_json(file)
        except UserError:
            if damaged == "refuse":
                raise
            continue
        if (
            isinstance(content, Mapping)
            and isinstance(content.get("shapes"), list)
            and "imagePath" in content
        ):
            name = file.relative_to(root).as_posix()
            yield (
                (file, content),
                [_shape(entry, f"{name}, shape {k}") for k, entry in enumerate(content["shapes"], 1)],
            )


def _shape(entry: Any, where: str) -> _Shape:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("label"), str):
        raise UserError(f"{where}: has no label")
    return _Shape(entry["label"], entry, where)


def _image_of(file: Path, content: Mapping[str, Any], root: Path, images: Mapping[str, Path]) -> str:
    """The key of the image that a file annotates: its imagePath, else what is called as the file itself."""
    named = str(content["imagePath"]).replace("\\", "/")
    beside = [file.parent / named, file.parent / Path(named).name, file]
    for path in beside:
        try:
            # as it is written: the image may be a link to somewhere else
            place = Path(os.path.abspath(path)).relative_to(os.path.abspath(root))
        except ValueError:
            continue
        key = place.with_suffix("").as_posix()
        if key in images:
            return key
    raise UserError(f"{file}: its image {named[:80]} is not there; it must lie beside the file")


def _points(points: Any, where: str) -> list[Point]:
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        raise UserError(f"{where}: points must be a list of [x, y]")
    return [(float(x), float(y)) for x, y in points]


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in point)
    )


def _flat(points: Sequence[Point]) -> tuple[float, ...]:
    return tuple(value for point in points for value in point)


def _circle(centre: Point, rim: Point) -> list[Point]:
    radius = math.dist(centre, rim)
    angles = [2 * math.pi * k / CIRCLE_POINTS for k in range(CIRCLE_POINTS)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UserError(f"{where}: mask must be a PNG image in base64") from None


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width in which the image was annotated, if the file says it."""
    height, width = content.get("imageHeight"), content.get("imageWidth")
    known = isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0
    return (height, width) if known else None  # type: ignore[return-value]
