"""What has been predicted, in the output folder: written as it goes, so that a later call continues there."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sbp.errors import UserError
from sbp.utils.files import disk_full_as_user_error, write_atomically

TABLE, ABOUT = "predictions.csv", "predictions.json"
PICTURES = ("masks", "overlays")


@dataclass(frozen=True)
class Row:
    """One image. image: relative to the folder of images. highest: of each defect the largest probability;
    empty if there is an error. output: the name of its pictures, relative to each folder of pictures. size,
    modified_ns: of the image's file when it was read; 0 if that failed."""

    image: PurePosixPath
    highest: tuple[float, ...]
    error: str
    output: PurePosixPath
    size: int = 0
    modified_ns: int = 0


class PredictionRecord:
    """The rows in `out`, by image: a table, and beside it what they were predicted with. `append` adds a row
    to the file at once; half a row, of a process that was killed, does not count."""

    def __init__(self, out: Path, defects: Sequence[str]):
        self.out, self.defects = out, tuple(defects)
        self.path = out / TABLE
        self.header = ["image", *self.defects, "error", "output", "bytes", "modified_ns"]
        self.rows: dict[PurePosixPath, Row] = {}
        self._owners: dict[PurePosixPath, PurePosixPath] = {}

    def open(self, about: dict[str, Any]) -> list[str]:
        """Read the rows that were predicted with the same `about`; otherwise there are none, and what differs
        is returned. Raises UserError if the pictures there are of other images, or not from here."""
        known = self._about()
        if known.get("folder", about["folder"]) != about["folder"]:
            raise UserError(
                f"{self.out}: holds the predictions of {known['folder']}; choose another with --out"
            )
        if not known and (there := _entries(self.out)):
            raise UserError(
                f"{self.out}: holds {there[0]}, which is no prediction of sbp, or an old version's; choose "
                "another folder with --out"
            )
        changed = [key for key in about if known and known.get(key) != about[key]]
        if changed or not known:
            self.path.unlink(missing_ok=True)
            write_atomically(self.out / ABOUT, json.dumps(about, indent=1) + "\n")
        for row in self._read():
            self._hold(row)
        self.rewrite()  # without half a row at its end
        return changed

    def append(self, row: Row) -> None:
        """Add a row, or replace that of the same image. Raises UserError where the disk is full."""
        self._hold(row)
        with disk_full_as_user_error(self.path), self.path.open("ab") as file:
            file.write(self._text([row]))

    def rewrite(self) -> None:
        """Write the whole table: a row per image, in the images' order."""
        rows = [self.rows[image] for image in sorted(self.rows)]
        write_atomically(self.path, self._text([None, *rows]), durable=False)

    def pictures(self, output: PurePosixPath) -> list[Path]:
        """The files that belong to an output: each defect's mask, and the overlay."""
        return [
            *(self.out / "masks" / defect / output for defect in self.defects),
            self.out / "overlays" / output,
        ]

    def is_done(self, image: PurePosixPath, output: PurePosixPath, about: os.stat_result) -> bool:
        """Whether the image, whose file is as in `about`, has its pictures under that name."""
        row, state = self.rows.get(image), (output, about.st_size, about.st_mtime_ns)
        if row is None or row.error or (row.output, row.size, row.modified_ns) != state:
            return False
        return all(path.is_file() and path.stat().st_size for path in self.pictures(output))

    def _hold(self, row: Row) -> None:
        """Keep a row instead of an earlier one of its image, and of one whose pictures it has overwritten."""
        former = self._owners.get(row.output, row.image)
        if former != row.image and self.rows[former].output == row.output:
            del self.rows[former]
        self.rows[row.image], self._owners[row.output] = row, row.image

    def _about(self) -> dict[str, Any]:
        try:
            known = json.loads((self.out / ABOUT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            known = None
        if not isinstance(known, dict) or not known:
            raise UserError(f"{self.out / ABOUT}: is damaged; choose another folder with --out")
        return known

    def _text(self, rows: Iterable[Row | None]) -> bytes:
        """Rows as they stand in the file; None for the header."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            if row is None:
                writer.writerow(self.header)
                continue
            # the shortest digits that give the same float32 again
            highest = [str(np.float32(value)) for value in row.highest] or [""] * len(self.defects)
            writer.writerow([row.image, *highest, row.error, row.output, row.size, row.modified_ns])
        return text.getvalue().encode("utf-8", "surrogateescape")

    def _read(self) -> Iterable[Row]:
        if not self.path.is_file():
            return
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1].decode("utf-8", "surrogateescape")
        rows = csv.reader(io.StringIO(whole, newline=""))
        if next(rows, None) != self.header:
            return
        for cells in rows:
            with contextlib.suppress(ValueError):  # what cannot be read is predicted again
                yield self._row(cells)

    def _row(self, cells: list[str]) -> Row:
        image, *highest, error, output, size, modified_ns = cells
        place = PurePosixPath(output)
        if len(highest) != len(self.defects) or place.is_absolute() or ".." in place.parts or not place.name:
            raise ValueError(f"{cells}: not as it was written")
        values = () if error else tuple(float(np.float32(value)) for value in highest)
        return Row(PurePosixPath(image), values, error, place, int(size), int(modified_ns))


def _entries(folder: Path) -> list[str]:
    """What lies in the folder, but for hidden files, as the lock is."""
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
