"""Finding files: what every layout needs."""

import contextlib
import csv
import difflib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sbp.data.disk.decode import SUFFIXES
from sbp.errors import UserError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_NAMES |= {"test": "test", "testing": "test"}
"""Names of folders and lists, in lower case, and the split that they hold."""


def checked_root(root: str | None, expected: str, folders: Sequence[str] = ()) -> Path:
    """`root` as a path with all of `folders` in it. expected: what the layout looks like and where the set
    can be had; it ends the message of the UserError."""
    if root is None:
        raise UserError(f"data.root is not set: {expected}")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise UserError(f"data.root={root}: no such folder; {expected}")
    for folder in folders:
        if not (path / folder).is_dir():
            raise UserError(f"data.root={root}: {folder} is missing; {expected}")
    return path


def images_in(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The images of one folder, by name, without the files with a dot in front that some systems leave.

    Raises UserError for a link that leads nowhere or in a circle.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.name.lower().endswith(tuple(suffixes)):
                continue
            try:
                if entry.is_file() and os.stat(entry.path):
                    found.append(Path(entry.path))
                elif entry.is_symlink():
                    raise UserError(f"{entry.path}: is a link that leads nowhere")
            except OSError as error:
                raise UserError(f"{entry.path}: cannot be read ({error.strerror})") from None
    return sorted(found, key=lambda path: path.name)


def images_below(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The images of a folder and of those in it, as images_in, a folder after the other, hidden ones left
    out."""
    if not folder.is_dir():
        return []
    found = images_in(folder, suffixes)
    for name in subfolders(folder):
        found += images_below(folder / name, suffixes)
    return found


def files_below(folder: Path, suffix: str) -> list[Path]:
    """All files of a suffix, a folder after the other, hidden ones left out."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == suffix and path.is_file()]
    found = sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)
    for name in subfolders(folder):
        found += files_below(folder / name, suffix)
    return found


def split_of(path: Path) -> str | None:
    """The split that a folder of the path (below the root) is called after, the last one if several are."""
    found = [SPLIT_NAMES[part.lower()] for part in path.parent.parts if part.lower() in SPLIT_NAMES]
    return found[-1] if found else None


def by_key(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by what they are called below `folder`, without the suffix: part1, or side/part1. Raises
    UserError if two are called the same: nobody could tell which annotation belongs to which."""
    found: dict[str, Path] = {}
    for path in paths:
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            other = found[key].name
            raise UserError(f"{path}: has the same stem as {other}; each image needs a stem of its own")
        found[key] = path
    return found


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths of one folder by stem. Raises UserError as by_key."""
    paths = list(paths)
    return by_key(paths[0].parent, paths) if paths else {}


def inside(root: Path, name: str, where: str) -> Path:
    """The file `name` below `root`. Raises UserError if it lies elsewhere or does not exist."""
    if any(ord(character) < 32 for character in name):
        raise UserError(f"{where}: {name!r} is no file name")
    path = root / name
    try:
        within, there = path.resolve().is_relative_to(root.resolve()), path.is_file()
    except (OSError, RuntimeError) as error:  # too long a name, links in a circle
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise UserError(f"{where}: {name[:80]}: cannot be read ({reason})") from None
    if not within:
        raise UserError(f"{where}: {name} lies outside of data.root={root}; paths must be relative to it")
    if not there:
        raise UserError(f"{where}: {name}: no such file in {root}")
    return path


def expect_some(items: Sequence, where: Path | str, expected: str) -> None:
    """Raise UserError if nothing was found."""
    if not items:
        raise UserError(f"{where}: holds no image; {expected}")


def expect_defects(defects: Sequence[str], there: Sequence[str]) -> None:
    """Raise UserError for a defect that the set does not have."""
    for defect in defects:
        if defect not in there:
            raise UserError(f"data.defects={defect}: must be any of {', '.join(there)}")


def expect_chosen(defect: str, defects: Sequence[str], ignore: Sequence[str], where: str) -> None:
    """Raise UserError for an annotated defect that is neither to be learnt nor to be ignored."""
    if defect not in (*defects, *ignore):
        way_out = f"add it, or leave its images out with data.ignore=[{defect}]"
        raise UserError(f"{where} is not in data.defects={[*defects]}; {way_out}")


def expect_known(defects: Sequence[str], there: Iterable[str], where: str) -> None:
    """Raise UserError for a defect, to learn or to ignore, that the files do not have. where: ends in what
    they have."""
    known = sorted(there)
    for defect in defects:
        if defect not in known:
            close = difflib.get_close_matches(defect, known, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"data.defects={defect}: {where} {', '.join(known) or 'none'}{hint}")


def expected_mask(mask: Path, image: Path) -> Path:
    """`mask`. Raises UserError if that file of the image does not exist."""
    if not mask.is_file():
        raise UserError(f"{image}: has no mask, {mask} is expected")
    return mask


def read_json(path: Path) -> Any:
    """Raises UserError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({' '.join(str(error).split())[:100]})") from None


def columns_of(path: Path) -> list[str]:
    """The header of a table, CSV or Parquet. Raises UserError if it cannot be read."""
    if path.suffix.lower() == ".parquet":
        return [str(name) for name in _frame(path).columns]
    with _csv(path) as reader:
        return list(reader.fieldnames or [])


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a table, CSV or Parquet, each with its place for messages ("train.csv, line 3").

    Empty cells are left out of the row. Raises UserError if the file cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        for number, values in enumerate(_frame(path).to_dict("records"), 1):
            row = {str(key): cell for key, value in values.items() if (cell := _cell(value))}
            yield f"{path.name}, row {number}", row
        return
    with _csv(path) as reader:
        for cells in reader:
            # of cells beyond the header, and of short rows, the key or the value is missing
            row = {k: v.strip() for k, v in cells.items() if k and isinstance(v, str) and v.strip()}
            yield f"{path.name}, line {reader.line_num}", row


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[csv.DictReader]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            yield reader
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV table in UTF-8 ({str(error)[:80]})") from None


def _frame(path: Path):
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise UserError(f"{path}: is no Parquet file ({' '.join(str(error).split())[:80]})") from None


def _cell(value: Any) -> str:
    """A Parquet value as CSV has it; numbers are names too, missing ones are empty."""
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer()  # pandas makes floats of integers with gaps
    return str(int(value) if whole else value).strip()
