"""YOLO segmentation: a text file of polygons per image, as Ultralytics and many exporters write it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from sbp.data.disk.annotations import Polygons
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, OwnImages
from sbp.data.layouts.files import (
    by_key,
    expect_chosen,
    expect_known,
    files_below,
    images_below,
    split_of,
)
from sbp.errors import UserError

NAME_FILES = ("classes.txt", "labels/classes.txt", "obj.names", "labels/obj.names")
log = logging.getLogger("sbp")
OUTSIDE = 0.1
"""Share of the image by which coordinates may lie outside of it: annotators overshoot the border."""
Held = dict[str, tuple[Polygons, ...]]
Line = tuple[str, int, tuple[float, ...]]
"""Place, class and coordinates."""


@LAYOUTS.register("yolo")
@dataclass(frozen=True)
class Yolo(OwnImages):
    """Images in a folder images/, with labels/ beside it (or NAME.txt beside the images); names of the
    classes from data.yaml or classes.txt, else class0, class1 and so on. Folders train, val or valid, and
    test are official splits. ignore: classes that are not learnt; their images are left out. group,
    group_size: see group_of."""

    expected = (
        "expected are images/NAME.jpg and labels/NAME.txt with lines 'class x y x y x y ...' in shares of "
        "width and height, perhaps in folders train, val, test; names of the classes in data.yaml"
    )
    drawn_as_shown = True

    def defects_in(self, root: Path) -> list[str]:
        named = _named(_names(root), _contents(root, _label_files(root)))
        return [name for name in named.values() if name not in self.ignore]

    @classmethod
    def recognised(cls, root: Path) -> "Yolo | None":
        files = _label_files(root)
        described = any((root / name).is_file() for name in ("data.yaml", "data.yml"))
        return cls() if files and (described or any(_is_label(file) for file in files.values())) else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        files = _label_files(root)
        if not files:
            raise UserError(f"data.root={root}: holds no label file; {self.expected}")
        images = by_key(root, images_below(root))
        contents = _contents(root, files)
        named = _named(_names(root), contents)
        expect_known([*defects, *self.ignore], named.values(), f"{root} has the classes")
        _warn_of_missing_files(root, images, files)
        items, left = [], set(files)
        for key, image in images.items():
            label = next((k for k in _label_keys(key) if k in files), None)
            left.discard(label or "")
            held = {} if label is None else self._held(contents[label], named, defects)
            if set(held) <= set(defects):
                split, group = split_of(Path(key)), self.group_of(key)
                items.append(Item(key, image, held, group, split, tuple(held)))
        for key in sorted(left):
            more = f" ({len(left)} such files)" if len(left) > 1 else ""
            raise UserError(
                f"{files[key]}: there is no image of that name{more}; remove it, or add the image"
            )
        return items

    def _held(self, lines: Sequence[Line], named: Mapping[int, str], defects: Sequence[str]) -> Held:
        held: Held = {}
        for where, number, numbers in lines:
            if number not in named:
                raise UserError(f"{where}: class {number} has no name, known are {len(named)}")
            defect = named[number]
            expect_chosen(defect, defects, self.ignore, f"{where}: class {defect}")
            polygons = (Polygons((numbers,), where, normalised=True),) if defect in defects else ()
            held[defect] = held.get(defect, ()) + polygons
        return held


def _warn_of_missing_files(root: Path, images: Mapping[str, Path], files: Mapping[str, Path]) -> None:
    """Say what is likely a mistake, though it may be meant: no names, and folders without any label file."""
    if not _names(root):
        above = " (there is one in the folder above)" if (root.parent / "data.yaml").is_file() else ""
        log.warning(
            "%s: has no data.yaml or classes.txt%s; its classes are called class0 and so on", root, above
        )
    by_folder: dict[str, int] = {}
    for key in images:
        folder = PurePosixPath(key).parent.as_posix()
        by_folder[folder] = by_folder.get(folder, 0) + any(k in files for k in _label_keys(key))
    for folder, labelled in by_folder.items():
        if not labelled:
            log.warning("%s: none of its images has a label file; they count as healthy", root / folder)


def _label_keys(key: str) -> tuple[str, ...]:
    """Where the labels of an image may lie: in labels/ instead of images/, else beside it."""
    parts = PurePosixPath(key).parts
    places = [k for k, part in enumerate(parts[:-1]) if part == "images"]
    if not places:
        return (key,)
    last = places[-1]
    return "/".join((*parts[:last], "labels", *parts[last + 1 :])), key


def _label_files(root: Path) -> dict[str, Path]:
    """Text files by what they are called below the root, those left out that hold names or lists."""
    files = [file for file in files_below(root, ".txt") if file.name not in ("classes.txt", "labelmap.txt")]
    in_labels = [file for file in files if "labels" in file.relative_to(root).parts[:-1]]
    beside = [file for file in files if any(file.with_suffix(s).is_file() for s in (".jpg", ".png", ".jpeg"))]
    return by_key(root, in_labels or beside)


def _names(root: Path) -> dict[int, str]:
    """Names of the classes by number, empty if no file says them."""
    for file in (root / "data.yaml", root / "data.yml"):
        if file.is_file():
            return _names_in(file)
    for name in NAME_FILES:
        if (root / name).is_file():
            lines = (root / name).read_text(encoding="utf-8-sig").splitlines()
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    return {}


def _names_in(file: Path) -> dict[int, str]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file}: is not valid YAML ({' '.join(str(error).split())[:100]})") from None
    names = content.get("names") if isinstance(content, Mapping) else None
    if isinstance(names, list):
        return dict(enumerate(map(str, names)))
    if isinstance(names, Mapping) and all(str(key).isdecimal() for key in names):
        return {int(key): str(name) for key, name in names.items()}
    raise UserError(f"{file}: names must be a list, or a number and a name per line")


def _named(names: Mapping[int, str], contents: Mapping[str, Sequence[Line]]) -> dict[int, str]:
    """The classes that there are: those with a name, else those that are used."""
    used = {number for lines in contents.values() for _, number, _ in lines}
    return dict(names) or {number: f"class{number}" for number in sorted(used)}


def _is_label(file: Path) -> bool:
    try:
        return next(_lines(file, file.name), None) is not None
    except UserError:
        return False


def _contents(root: Path, files: Mapping[str, Path]) -> dict[str, list[Line]]:
    return {key: list(_lines(file, file.relative_to(root).as_posix())) for key, file in files.items()}


def _lines(file: Path, name: str) -> Iterator[Line]:
    """Place, class and coordinates of each line. Raises UserError for a line of another form."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text ({str(error)[:80]})") from None
    for row, line in enumerate(lines, 1):
        if not (words := line.split()):
            continue
        where = f"{name}, line {row}"
        if len(words) == 5:
            raise UserError(
                f"{where}: is a box; boxes alone cannot train a segmentation: annotate a polygon, or remove "
                "the line"
            )
        try:
            number, values = int(float(words[0])), tuple(map(float, words[1:]))
        except (ValueError, OverflowError):
            raise UserError(f"{where}: must be 'class x y x y x y ...', not {line[:40]!r}") from None
        if number < 0 or len(values) < 6 or len(values) % 2:
            raise UserError(f"{where}: must be a class and x and y of three or more points")
        if not all(-OUTSIDE <= value <= 1 + OUTSIDE for value in values):  # NaN too
            worst = max(values, key=abs)
            raise UserError(
                f"{where}: has the coordinate {worst:g}; they must be shares of width and height, from 0 to 1"
            )
        yield where, number, values
