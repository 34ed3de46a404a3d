"""VisA: twelve objects with defects that have no name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout
from sbp.data.layouts.files import expect_defects, inside, rows_of
from sbp.errors import UserError

TABLE = "2cls_highshot.csv"
"""The published splits that are used: with defective images in training."""


@LAYOUTS.register("visa")
@dataclass(frozen=True)
class Visa(Layout):
    """One object, `category`, with its published splits; any value of a mask above 0 is the defect."""

    category: str

    expected = (
        f"expected are split_csv/{TABLE} with the columns object, split, label, image, mask, and the "
        "images it names (github.com/amazon-science/spot-diff, VisA)"
    )
    folders = ("split_csv",)

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        expect_defects(defects, ["anomaly"])
        items, objects = [], set()
        for where, row in rows_of(inside(root, f"split_csv/{TABLE}", "data.root")):
            for column in ("object", "split", "label", "image"):
                if column not in row:
                    raise UserError(f"{where}: has no {column}; {self.expected}")
            objects.add(row["object"])
            if row["object"] == self.category:
                items.append(_item(root, row, defects[0], where))
        if not items:
            there = ", ".join(sorted(objects)) or "nothing"
            raise UserError(f"data.category={self.category}: {TABLE} has {there}")
        return items


def _item(root: Path, row: dict[str, str], defect: str, where: str) -> Item:
    image, held = inside(root, row["image"], where), {}
    if "mask" in row:
        held = {defect: (MaskFile(inside(root, row["mask"], where), threshold=0),)}
    elif row["label"] != "normal":
        raise UserError(f"{where}: {row['image']} is {row['label']} but has no mask")
    return Item(row["image"], image, held, row["image"], row["split"], tuple(held))
