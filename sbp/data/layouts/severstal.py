"""Severstal: steel strips of 256 x 1600 pixels, run lengths in a table."""

from collections.abc import Sequence
from pathlib import Path

from sbp.data.disk.annotations import RunLengths
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout
from sbp.data.layouts.files import expect_defects, images_in, inside, rows_of
from sbp.errors import UserError


@LAYOUTS.register("severstal")
class Severstal(Layout):
    """Defects class1 to class4, in both published forms of train.csv: ImageId, ClassId, EncodedPixels, and
    the older ImageId_ClassId, EncodedPixels."""

    expected = (
        "expected are train.csv and train_images/ of Kaggle's 'Severstal: Steel Defect Detection' "
        "(kaggle competitions download -c severstal-steel-defect-detection)"
    )
    folders = ("train_images",)

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        runs: dict[str, dict[str, tuple[RunLengths, ...]]] = {}
        for where, row in rows_of(inside(root, "train.csv", "data.root")):
            name, defect = _image_and_class(row, where)
            if "EncodedPixels" in row:
                held = runs.setdefault(name, {})
                held[defect] = (*held.get(defect, ()), RunLengths(row["EncodedPixels"], where))
        images = {image.name: image for image in images_in(root / "train_images")}
        for name in runs:
            if images and name not in images:
                raise UserError(f"train.csv: {name} is not in {root / 'train_images'}")
        expect_defects(defects, [f"class{k}" for k in range(1, 5)])
        return [
            Item(name, image, held, name, None, tuple(held))
            for name, image in images.items()
            if set(held := runs.get(name, {})) <= set(defects)
        ]


def _image_and_class(row: dict[str, str], where: str) -> tuple[str, str]:
    if "ImageId_ClassId" in row:
        name, _, number = row["ImageId_ClassId"].rpartition("_")
    else:
        name, number = row.get("ImageId", ""), row.get("ClassId", "")
    if not name or number not in ("1", "2", "3", "4"):
        raise UserError(f"{where}: needs ImageId and a ClassId of 1 to 4 (or ImageId_ClassId)")
    return name, f"class{number}"
