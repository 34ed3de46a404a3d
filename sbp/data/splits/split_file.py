"""The file in which the split of a set is kept, so that it stays when images are added."""

import contextlib
import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS
from sbp.errors import UserError
from sbp.utils.files import write_atomically

COLUMNS = ("name", "group", "split", "defects")
SEPARATOR = ";"
"""Between an image's defects, whose names may have spaces."""

log = logging.getLogger("sbp")


class SplitFile:
    """The split of each image and the defects that it holds, by name, as kept in a file.

    path: None: nothing is kept. Raises UserError for a file of another kind.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.rows: dict[str, dict[str, str]] = {}
        self.written_ns = 0
        self.annotations_read = False
        if path is not None and path.is_file():
            self.written_ns = os.stat(path).st_ctime_ns
            self.rows = read_split_file(path)

    def splits(self) -> dict[str, str]:
        """The split of each image that has one."""
        return {name: row["split"] for name, row in self.rows.items()}

    def defects_of(self, item: Item) -> set[str] | None:
        """The defects that the image holds, which spares reading its masks; None if it is not in the file,
        or its annotations may have changed since."""
        held = _defects_in(self.rows[item.name]) if item.name in self.rows else None
        if held is not None and held <= set(item.annotations) and self._is_newer_than(item):
            return held
        self.annotations_read = True
        return None

    def _is_newer_than(self, item: Item) -> bool:
        """Whether all annotations of the image are files that are there, unchanged, since this was written.
        (By the time at which their entries changed: copied files may keep the other one.)"""
        annotations = [annotation for found in item.annotations.values() for annotation in found]
        with contextlib.suppress(OSError):
            return all(
                isinstance(annotation, MaskFile) and os.stat(annotation.path).st_ctime_ns < self.written_ns
                for annotation in annotations
            )
        return False

    def update(
        self, items: Sequence[Item], labels: np.ndarray, splits: Sequence[str], defects: Sequence[str]
    ) -> None:
        """Write the file if it lacks an image, or has other defects of one than its annotations. labels:
        (N, D) bool. Raises UserError if it cannot be written."""
        if self.path is None:
            return
        rows = [self.rows.get(item.name) for item in items]
        new = rows.count(None)
        if not new and all(
            row is not None and _defects_in(row) == set(_named(held, defects))
            for row, held in zip(rows, labels, strict=True)
        ):
            if self.annotations_read:  # they are as the file says, also by its time
                with contextlib.suppress(OSError):
                    os.utime(self.path)
            return
        names = {item.name for item in items}
        missing = [row for name, row in self.rows.items() if name not in names]
        about = f"{new} new images" if self.rows and new else f"{len(items)} images"
        log.info("split of %s written to %s", about, self.path)
        write_split_file(self.path, items, labels, splits, defects, missing)


def _defects_in(row: Mapping[str, str]) -> set[str]:
    return set((row["defects"] or "").split(SEPARATOR)) - {""}


def _named(held: Sequence[bool], defects: Sequence[str]) -> list[str]:
    return [defect for defect, there in zip(defects, held, strict=True) if there]


def read_split_file(path: Path) -> dict[str, dict[str, str]]:
    """name -> row. Raises UserError for a file of another kind."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.split_file={path}: cannot be read ({error})") from None
    if tuple(columns) != COLUMNS:
        raise UserError(f"data.split_file={path}: must have the columns {', '.join(COLUMNS)}")
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        place = f"data.split_file={path}, line {number}"
        if row["split"] not in SPLITS:
            raise UserError(f"{place}: split={row['split']}: must be one of {', '.join(SPLITS)}")
        if row["name"] in found and found[row["name"]]["split"] != row["split"]:
            before = found[row["name"]]["split"]
            raise UserError(f"{place}: {row['name']} is in {row['split']}, above it was in {before}")
        found[row["name"]] = row
    return found


def write_split_file(
    path: Path,
    items: Sequence[Item],
    labels: np.ndarray,
    splits: Sequence[str],
    defects: Sequence[str],
    missing: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write it atomically: several jobs may start at once. missing: rows of images that are not there now;
    they keep their split, should they come back. Raises UserError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _as_text(items, labels, splits, defects, missing)
        write_atomically(path, content, shared=True)
    except OSError as error:
        raise UserError(f"data.split_file={path}: cannot be written ({error.strerror})") from None


def _as_text(items, labels, splits, defects, missing) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item, row, split in zip(items, labels, splits, strict=True):
        writer.writerow([item.name, item.group, split, SEPARATOR.join(_named(row, defects))])
    writer.writerows([row[column] for column in COLUMNS] for row in missing)
    return text.getvalue()
