"""The pass over a data set that writes it in another layout."""

import csv
import io
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from sbp.data.convert.writers import CocoWriter, LabelmeWriter, MasksWriter, Writer
from sbp.data.convert.zones import zones_of
from sbp.data.disk.decode import orientation
from sbp.data.disk.exif import BACK, turned
from sbp.data.disk.listing import Item
from sbp.data.disk.source import ListedSource, read_item
from sbp.data.splits.split_file import COLUMNS, SEPARATOR
from sbp.errors import UserError
from sbp.utils.files import write_atomically

TARGETS: dict[str, type[Writer]] = {"masks": MasksWriter, "coco": CocoWriter, "labelme": LabelmeWriter}


def convert(source: ListedSource, target: str, out: Path, progress: Callable[[int, int], None]) -> list[str]:
    """Write the data set to the folder `out`: copies of the images, annotations that read as the same masks,
    and split.csv with its split and groups.

    target: one of TARGETS. Returns the words of a command line that read it. Raises UserError for a folder
    that holds something, for a file that cannot be read, and for what the target cannot hold.
    """
    if out.resolve().is_relative_to(source.listing.root.resolve()):
        raise UserError(f"--out {out}: lies in the data set itself; choose a folder beside it")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; choose a folder")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out {out}: holds something already; choose a folder that is empty or not there")
    writer = TARGETS[target](out, source.defects)
    files = _names(source)
    rows = []
    for number, (item, split) in enumerate(zip(source.listing.items, source.splits_of, strict=True), 1):
        held = _convert(item, source, writer, files[item.name])
        rows.append([writer.name(files[item.name]), item.group, split, SEPARATOR.join(held)])
        progress(number, len(source.splits_of))
    writer.close()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    write_atomically(out / "split.csv", text.getvalue(), durable=False)
    defects = ",".join(source.defects)
    return [
        *(f"data={target}", f"data.root={out}", f"data.defects=[{defects}]", *writer.keys),
        f"data.split_file={out / 'split.csv'}",
    ]


def _names(source: ListedSource) -> dict[str, str]:
    """The file of each image by its item's name, below the folder of images. Raises UserError if two are
    called the same but for their suffix: an annotation could not tell which it belongs to."""
    names: dict[str, str] = {}
    stems: dict[str, str] = {}
    for item in source.listing.items:
        name = Path(item.name)
        if name.suffix.lower() == item.image.suffix.lower():
            name = name.with_suffix("")
        if (other := stems.setdefault(name.as_posix(), item.name)) != item.name:
            raise UserError(f"{item.name}: is called as {other} but for its suffix; rename one of them")
        names[item.name] = f"{name.as_posix()}{item.image.suffix}"
    return names


def _convert(item: Item, source: ListedSource, writer: Writer, file: str) -> list[str]:
    """Write one image; returns the defects that it holds."""
    _, masks, void = read_item(item, source.defects, source.reading)
    return write_item(item, masks, void, source, writer, file)


def write_item(
    item: Item,
    masks: np.ndarray,
    void: np.ndarray | None,
    source: ListedSource,
    writer: Writer,
    file: str,
    changed: Collection[str] = (),
) -> list[str]:
    """Write one image as `file`, with masks (H, W, D) bool and void (H, W) bool as `read_item` gives them;
    returns the defects that it holds. changed: defects whose masks are others than the item's annotations
    draw."""
    way = orientation(item.image) if writer.drawn_as_shown != source.reading.exif else 1
    if not writer.drawn_as_shown:
        way = BACK[way]
    turn = [turned(mask, way) for mask in (masks, *([] if void is None else [void]))]
    shape = turn[0].shape[:2]
    held = [defect for d, defect in enumerate(source.defects) if turn[0][:, :, d].any()]
    zones = {}
    for d, defect in enumerate(source.defects):
        if defect in held:
            mask = np.ascontiguousarray(turn[0][:, :, d])
            drawn = () if defect in changed else item.annotations[defect]
            zones[defect] = zones_of(mask, drawn, way != 1 or defect in changed)
    path = writer.root / writer.images / file
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(item.image, path)
    writer.put(file, zones, turn[1] if void is not None else None, shape)
    return held
