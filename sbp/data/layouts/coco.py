"""Own images with COCO annotation files: polygons and run lengths, also as Roboflow and Label Studio write
them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import Annotation
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, OwnImages
from sbp.data.layouts.coco_entries import annotation_of, field_of, id_of, looks_like_coco
from sbp.data.layouts.files import SPLIT_NAMES, expect_chosen, inside, read_json, subfolders
from sbp.data.layouts.named_files import NamedFiles
from sbp.errors import UserError

USUAL = ("annotations.json", "_annotations.coco.json", "result.json", "instances_default.json")
"""Names of annotation files: ours, Roboflow's, Label Studio's, CVAT's."""
FOLDERS = (".", "annotations")


@LAYOUTS.register("coco")
@dataclass(frozen=True)
class Coco(OwnImages):
    """annotations: the COCO file below the root; None: found there, or one in each of the folders train,
    valid and test, which are official splits then. images: the folder of its images; a file_name that is not
    there is looked for elsewhere below the root. val_annotations, test_annotations: files of official splits,
    then `annotations` is that of training. ignore: categories that are not learnt; images that have one are
    left out. group, group_size: see group_of."""

    annotations: str | None = None
    val_annotations: str | None = None
    test_annotations: str | None = None
    images: str = "images"
    expected = (
        "expected is a COCO annotation file, data.annotations=annotations.json, with images, categories and "
        "annotations, and the images below data.root/images"
    )
    drawn_as_shown = True

    def defects_in(self, root: Path) -> list[str]:
        used: dict[str, None] = {}
        for name in self._files(root):
            content = self._content(inside(root, name, "data.annotations"))
            used |= dict.fromkeys(_used(content, _categories(content, name), name))
        return [name for name in used if name not in self.ignore]

    @classmethod
    def recognised(cls, root: Path) -> "Coco | None":
        return cls() if _found(root) else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        files = self._files(root)
        images = NamedFiles(root, self.images)
        contents = {name: self._content(inside(root, name, "data.annotations")) for name in files}
        categories = {name: _categories(content, name) for name, content in contents.items()}
        there = dict.fromkeys(category for of in categories.values() for category in of.values())
        for defect in [*defects, *self.ignore]:
            if defect not in there:
                has = f"{', '.join(files)} has the categories {', '.join(there)}"
                raise UserError(f"data.defects={defect}: {has}")
        items: list[Item] = []
        for name, content in contents.items():
            for category in _used(content, categories[name], name):
                expect_chosen(category, defects, self.ignore, f"{name}: category {category}")
            official = files[name] if len(files) > 1 else None
            items += self._items(content, categories[name], images, defects, name, official)
        return items

    def _files(self, root: Path) -> dict[str, str]:
        """The annotation files, and the split that each holds."""
        named = {"train": self.annotations, "val": self.val_annotations, "test": self.test_annotations}
        if any(named.values()):
            named["train"] = named["train"] or USUAL[0]
            return {name: split for split, name in named.items() if name is not None}
        found = _found(root)
        if not found:
            raise UserError(f"data.root={root}: holds no COCO file; {self.expected}")
        return found

    def _content(self, path: Path) -> dict[str, list[dict[str, Any]]]:
        content = read_json(path)
        for key in ("images", "categories", "annotations"):
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise UserError(f"{path}: has no list {key}; {self.expected}")
        return content

    def _items(
        self, content, categories: Mapping[str, str], files: NamedFiles, defects, file: str, split: str | None
    ) -> list[Item]:
        images = _by_id(content["images"], "image", file)
        held: dict[str, dict[str, tuple[Annotation, ...]]] = defaultdict(dict)
        for entry in content["annotations"]:
            number = entry.get("id", "?") if isinstance(entry, Mapping) else "?"
            where = f"{file}, annotation {number}"
            image = _referred(entry, "image_id", images, "images", where)
            defect = _referred(entry, "category_id", categories, "categories", where)
            # those of ignored categories are there without being read, so that their images are left out
            read = (annotation_of(entry, image, where),) if defect in defects else ()
            of_image = held[id_of(image, "id", where)]
            of_image[defect] = of_image.get(defect, ()) + read
        return [
            self._item(image, files, held[key], file, split)
            for key, image in images.items()
            if set(held[key]) <= set(defects)
        ]

    def _item(self, image: Mapping, files: NamedFiles, held, file: str, split: str | None) -> Item:
        name = str(field_of(image, "file_name", file))
        name, path = files.find(name, Path(file).parent, f"{file}, image {image['id']}")
        group = self.group_of(Path(name).with_suffix("").as_posix())
        return Item(name, path, held, group, split, tuple(held))


def _found(root: Path) -> dict[str, str]:
    """COCO files below a root by their usual names, or the only one; and the split that each holds."""
    for folder in FOLDERS:
        for name in USUAL:
            if (root / folder / name).is_file():
                return {(Path(folder) / name).as_posix(): "train"}
    splits = {}
    for folder in subfolders(root):
        for name in USUAL:
            if folder.lower() in SPLIT_NAMES and (root / folder / name).is_file():
                splits[f"{folder}/{name}"] = SPLIT_NAMES[folder.lower()]
    return splits or _instances(root)


def _instances(root: Path) -> dict[str, str]:
    """Files in root or annotations/ that look like COCO, called after their splits if there are several."""
    folders = [folder for folder in (root, root / "annotations") if folder.is_dir()]
    paths = [path for folder in folders for path in folder.glob("*.json") if looks_like_coco(path)]
    names = [path.relative_to(root).as_posix() for path in sorted(paths)]
    if len(names) == 1:
        return {names[0]: "train"}
    found = {}
    for name in names:
        words = re.split(r"[^a-z]+", Path(name).stem.lower())
        if (split := next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)) is None:
            return {}
        found[name] = split
    return found


def _categories(content: Mapping[str, Any], file: str) -> dict[str, str]:
    by_id = _by_id(content["categories"], "category", file)
    return {key: str(field_of(entry, "name", file)) for key, entry in by_id.items()}


def _used(content: Mapping[str, Any], categories: Mapping[str, str], file: str) -> list[str]:
    """Names of the categories that something is annotated with, in the file's order; exporters add others."""
    numbers = set()
    for entry in content["annotations"]:
        if isinstance(entry, Mapping) and "category_id" in entry:
            numbers.add(id_of(entry, "category_id", file))
    return [name for number, name in categories.items() if number in numbers]


def _referred(entry: Any, key: str, known: Mapping[str, Any], what: str, where: str) -> Any:
    """What an annotation's `key` is the id of."""
    value = id_of(entry, key, where)
    if value not in known:
        raise UserError(f"{where}: {key} {value} is not among the {what}")
    return known[value]


def _by_id(entries: Sequence, what: str, file: str) -> dict[str, Mapping]:
    found: dict[str, Mapping] = {}
    for entry in entries:
        key = id_of(entry, "id", file)
        if key in found:
            raise UserError(f"{file}: the id {key} is that of more than one {what}; ids must be unique")
        found[key] = entry
    return found
