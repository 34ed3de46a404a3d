"""Own images listed in a table, CSV or Parquet: image, mask, defect, split, group."""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import Mark, MaskFile
from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import checked_root, columns_of, expect_some, inside, rows_of
from sbp.data.source import SPLITS
from sbp.errors import UserError

COLUMNS = ("image", "mask", "defect", "split", "group")
EXPECTED = (
    "expected is data.table=table.csv (or .parquet) with the columns image, mask, defect and, if there are "
    f"any, split ({', '.join(SPLITS)}) and group; paths relative to data.root; a row per mask, and one "
    "without mask for a healthy image"
)


def list_table(
    root: str | None,
    defects: Sequence[str],
    *,
    table: str = "table.csv",
    threshold: int = 127,
    ignore: Sequence[str] = (),
) -> Listing:
    """Images of a table below root; several rows of one image are merged. ignore: defects that are not
    learnt; their images are left out. Raises UserError, naming the line."""
    path = checked_root(root, EXPECTED)
    merged: dict[str, dict] = {}
    file = inside(path, table, "data.table")
    _expect_columns(file)
    for where, row in _rows(file):
        if "image" not in row:
            raise UserError(f"{where}: has no image; {EXPECTED}")
        row["image"] = posixpath.normpath(row["image"])  # ./a.png is a.png
        entry = merged.setdefault(row["image"], {"marks": {}, "split": None, "group": None, "where": where})
        _agree(entry, row, where)
        if "mask" in row or "defect" in row:
            defect, mark = _mark(row, path, defects, ignore, threshold, where)
            entry["marks"].setdefault(defect, []).append(mark)
    splits = {entry["split"] for entry in merged.values()}
    if None in splits and len(splits) > 1:
        name = next(name for name, entry in merged.items() if entry["split"] is None)
        raise UserError(f"{table}: {name} has no split while others have one")
    items = [
        _item(name, entry, path) for name, entry in merged.items() if not set(entry["marks"]) & set(ignore)
    ]
    expect_some(items, path / table, EXPECTED)
    return Listing(path, tuple(defects), items)


def _expect_columns(path: Path) -> None:
    """Raise UserError if a column is missing, or has another spelling: its content would not count."""
    if path.suffix.lower() == ".parquet":
        columns = [str(name) for name in _frame(path).columns]
    else:
        columns = columns_of(path)
    for column in columns:
        if column not in COLUMNS and column.lower() in COLUMNS:
            raise UserError(f"{path.name}: column {column} must be written {column.lower()}")
    for column in COLUMNS[:3]:
        if columns and column not in columns:
            raise UserError(
                f"{path.name}: has no column {column}, but {', '.join(columns)[:100]}; {EXPECTED}, separated "
                "by commas"
            )


def _frame(path: Path):
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise UserError(f"{path}: is no Parquet file ({' '.join(str(error).split())[:80]})") from None


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if path.suffix.lower() != ".parquet":
        yield from rows_of(path)
        return
    for number, row in enumerate(_frame(path).to_dict("records"), 1):
        yield f"{path.name}, row {number}", {k: cell for k, value in row.items() if (cell := _cell(value))}


def _cell(value: Any) -> str:
    """A Parquet value as CSV has it; numbers are names too, missing ones are empty."""
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer()  # pandas makes floats of integers with gaps
    return str(int(value) if whole else value).strip()


def _agree(entry: dict, row: dict[str, str], where: str) -> None:
    """Rows of one image must say the same of its split and group."""
    for key in ("split", "group"):
        if key in row:
            if entry[key] not in (None, row[key]):
                about = f"{row['image']} has the {key} {row[key]}, above it was {entry[key]}"
                raise UserError(f"{where}: {about}")
            entry[key] = row[key]
    if entry["split"] not in (None, *SPLITS):
        raise UserError(f"{where}: split={entry['split']}: must be one of {', '.join(SPLITS)}")


def _mark(row, root: Path, defects, ignore, threshold: int, where: str) -> tuple[str, Mark]:
    if "mask" not in row or "defect" not in row:
        raise UserError(f"{where}: mask and defect must both be given, or neither for a healthy image")
    if row["defect"] not in (*defects, *ignore):
        raise UserError(
            f"{where}: defect {row['defect']} is not in data.defects={list(defects)}; add it, or leave its "
            f"images out with data.ignore=[{row['defect']}]"
        )
    return row["defect"], MaskFile(inside(root, row["mask"], where), None, threshold)


def _item(name: str, entry: dict, root: Path) -> Item:
    image = inside(root, name, entry["where"])
    marks = {defect: tuple(found) for defect, found in entry["marks"].items()}
    return Item(name, image, marks, entry["group"] or name, entry["split"], tuple(marks))
