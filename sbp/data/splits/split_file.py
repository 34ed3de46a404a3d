"""The file in which the split of a set is kept, so that it stays when images are added."""

import contextlib
import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

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
                annotation.path is not None and os.stat(annotation.path).st_ctime_ns < self.written_ns
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
        held = [[defect for defect, there in zip(defects, row, strict=True) if there] for row in labels]
        rows = [self.rows.get(item.name) for item in items]
        pairs = zip(rows, held, strict=True)
        if all(row is not None and _defects_in(row) == set(names) for row, names in pairs):
            if self.annotations_read:  # they are as the file says, also by its time
                with contextlib.suppress(OSError):
                    os.utime(self.path)
            return
        new = rows.count(None)
        about = f"{new} new images" if self.rows and new else f"{len(items)} images"
        log.info("split of %s written to %s", about, self.path)
        # images that are not there now keep their split, should they come back
        missing = self.rows.keys() - {item.name for item in items}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for item, split, names in zip(items, splits, held, strict=True):
            writer.writerow([item.name, item.group, split, SEPARATOR.join(names)])
        writer.writerows(list(map(row.get, COLUMNS)) for name, row in self.rows.items() if name in missing)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, text.getvalue(), shared=True)  # several jobs may start at once
        except OSError as error:
            raise UserError(f"data.split_file={self.path}: cannot be written ({error.strerror})") from None


def is_split_file(path: Path) -> bool:
    """Whether a file is there that begins as one."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()[:1] == [",".join(COLUMNS)]
    except (OSError, UnicodeDecodeError):
        return False


def _defects_in(row: Mapping[str, str]) -> set[str]:
    return set((row["defects"] or "").split(SEPARATOR)) - {""}


def read_split_file(path: Path) -> dict[str, dict[str, str]]:
    """name -> row. Raises UserError for a file of another kind."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.split_file={path}: cannot be read ({error})") from None
    if columns != COLUMNS:
        raise UserError(f"data.split_file={path}: must have the columns {', '.join(COLUMNS)}")
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        place = f"data.split_file={path}, line {number}"
        if row["split"] not in SPLITS:
            raise UserError(f"{place}: split={row['split']}: must be one of {', '.join(SPLITS)}")
        if (before := found.get(row["name"], row)["split"]) != row["split"]:
            raise UserError(f"{place}: {row['name']} is in {row['split']}, above it was in {before}")
        found[row["name"]] = row
    return found
