"""Own images listed in a table, CSV or Parquet: image, mask, defect, split, group."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, THRESHOLD, Layout, check_threshold
from sbp.data.layouts.files import columns_of, expect_chosen, inside, rows_of
from sbp.data.source import SPLITS
from sbp.errors import UserError

COLUMNS = ("image", "mask", "defect", "split", "group")


@LAYOUTS.register("table")
@dataclass(frozen=True)
class Table(Layout):
    """table: the file, below the root; several rows of one image are merged. threshold: grey value above
    which a mask is annotated. ignore: defects that are not learnt; their images are left out."""

    table: str = "table.csv"
    threshold: int = THRESHOLD
    ignore: list[str] = field(default_factory=list)

    expected = (
        "expected is data.table=table.csv (or .parquet) with the columns image, mask, defect and, if there "
        f"are any, split ({', '.join(SPLITS)}) and group; paths relative to data.root; a row per mask, and "
        "one without mask for a healthy image"
    )

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def defects_in(self, root: Path) -> list[str]:
        rows = rows_of(inside(root, self.table, "data.table"))
        found = dict.fromkeys(row["defect"] for _, row in rows if "defect" in row)
        return [name for name in found if name not in self.ignore]

    @classmethod
    def recognised(cls, root: Path) -> "Table | None":
        found = [name for name in ("table.csv", "table.parquet") if (root / name).is_file()]
        return cls(found[0]) if found else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        file = inside(root, self.table, "data.table")
        self._check_columns(file)
        merged: dict[str, dict[str, Any]] = {}
        for where, row in rows_of(file):
            if "image" not in row:
                raise UserError(f"{where}: has no image; {self.expected}")
            name = row["image"] = posixpath.normpath(row["image"])  # ./a.png is a.png
            entry = merged.setdefault(name, {"held": {}, "split": None, "group": None, "where": where})
            _check_agreement(entry, row, where)
            if "mask" in row or "defect" in row:
                defect = self._defect(row, defects, where)
                mask = MaskFile(inside(root, row["mask"], where), threshold=self.threshold)
                entry["held"][defect] = (*entry["held"].get(defect, ()), mask)
        if len({entry["split"] is None for entry in merged.values()}) > 1:
            name = next(name for name, entry in merged.items() if entry["split"] is None)
            raise UserError(f"{self.table}: {name} has no split while others have one")
        items = []
        for name, entry in merged.items():
            if set(held := entry["held"]) <= set(defects):
                image, group = inside(root, name, entry["where"]), entry["group"] or name
                items.append(Item(name, image, held, group, entry["split"], tuple(held)))
        return items

    def _check_columns(self, file: Path) -> None:
        """Raise UserError if a column is missing, or has another spelling: its content would not count."""
        columns = columns_of(file)
        for column in columns:
            if column not in COLUMNS and column.lower() in COLUMNS:
                raise UserError(f"{file.name}: column {column} must be written {column.lower()}")
        for column in COLUMNS[:3]:
            if columns and column not in columns:
                there = ", ".join(columns)[:100]
                raise UserError(
                    f"{file.name}: has no column {column}, but {there}; {self.expected}, separated by commas"
                )

    def _defect(self, row: dict[str, str], defects: Sequence[str], where: str) -> str:
        if "mask" not in row or "defect" not in row:
            raise UserError(f"{where}: mask and defect must both be given, or neither for a healthy image")
        expect_chosen(row["defect"], defects, self.ignore, f"{where}: defect {row['defect']}")
        return row["defect"]


def _check_agreement(entry: dict[str, Any], row: dict[str, str], where: str) -> None:
    """Rows of one image must say the same of its split and group."""
    for key in ("split", "group"):
        if key in row:
            if entry[key] not in (None, row[key]):
                about = f"{row['image']} has the {key} {row[key]}, above it was {entry[key]}"
                raise UserError(f"{where}: {about}")
            entry[key] = row[key]
    if entry["split"] not in (None, *SPLITS):
        raise UserError(f"{where}: split={entry['split']}: must be one of {', '.join(SPLITS)}")
