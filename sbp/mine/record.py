"""What has been scored, in the output folder: written as it goes, so that a later call continues there."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sbp.errors import UserError
from sbp.utils.files import disk_full_as_user_error, write_atomically

TABLE, ABOUT = "scores.csv", "scores.json"
BEFORE = ("image", "bytes", "modified_ns", "error")


@dataclass(frozen=True)
class Scored:
    """One image. image: relative to the folder. size, modified_ns: of its file when it was read, 0 if that
    failed. values: as the record's columns say; empty if there is an error."""

    image: PurePosixPath
    size: int
    modified_ns: int
    error: str
    values: np.ndarray


class ScoreRecord:
    """The rows in `out`, by image. columns: names of the values. `append` adds rows to the file at once;
    half a row, of a process that was killed, does not count."""

    def __init__(self, out: Path, columns: Sequence[str]):
        self.path, self.about_path, self.columns = out / TABLE, out / ABOUT, list(columns)
        self.rows: dict[PurePosixPath, Scored] = {}

    def open(self, about: dict[str, Any]) -> bool:
        """Read the rows that were scored with the same `about`; False if there were others: they are gone."""
        known = self._about()
        same = known == about
        if not same:
            self.path.unlink(missing_ok=True)
            write_atomically(self.about_path, json.dumps(about, indent=1) + "\n")
        for row in self._read():
            self.rows[row.image] = row
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*BEFORE, *self.columns])
        writer.writerows(_cells(row, len(self.columns)) for row in self.rows.values())
        write_atomically(self.path, text.getvalue().encode("utf-8", "surrogateescape"), durable=False)
        return same or not known

    def append(self, rows: Sequence[Scored]) -> None:
        """Add rows. Raises UserError where the disk is full."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(_cells(row, len(self.columns)) for row in rows)
        with disk_full_as_user_error(self.path), self.path.open("ab") as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))
        self.rows.update((row.image, row) for row in rows)

    def is_done(self, image: PurePosixPath, path: Path) -> bool:
        """Whether the image has a score, and its file is the one that was scored."""
        row = self.rows.get(image)
        if row is None or row.error:
            return False
        about = path.stat()
        return (row.size, row.modified_ns) == (about.st_size, about.st_mtime_ns)

    def _about(self) -> dict[str, Any]:
        try:
            known = json.loads(self.about_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            known = None
        if not isinstance(known, dict):
            raise UserError(f"{self.about_path}: is damaged; choose another folder with --out")
        return known

    def _read(self) -> list[Scored]:
        if not self.path.is_file():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1].decode("utf-8", "surrogateescape")
        rows = csv.reader(io.StringIO(whole, newline=""))
        if next(rows, None) != [*BEFORE, *self.columns]:
            return []
        found = []
        for cells in rows:
            image, size, modified, error, *values = cells
            if len(values) == len(self.columns):
                numbers = np.array([] if error else values, dtype=np.float32)
                found.append(Scored(PurePosixPath(image), int(size), int(modified), error, numbers))
        return found


def _cells(row: Scored, columns: int) -> list[object]:
    # the shortest digits that give the same float32 again
    values = [""] * columns if row.error else [str(np.float32(value)) for value in row.values]
    return [row.image, row.size, row.modified_ns, row.error, *values]
