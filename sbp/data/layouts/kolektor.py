"""KolektorSDD and KolektorSDD2: commutators, and surfaces of another part, each with one defect."""

from collections.abc import Sequence
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout
from sbp.data.layouts.files import by_stem, expect_defects, expected_mask, images_in, subfolders


@LAYOUTS.register("kolektor_sdd")
class KolektorSdd(Layout):
    """Commutators, photographed in parts; split by commutator."""

    expected = (
        "expected are folders kos01 ... kos50 with Part0.jpg and Part0_label.bmp (vicos.si, KolektorSDD)"
    )

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        expect_defects(defects, ["defect"])
        return [
            _item(f"{folder}/{image.stem}", image, f"{image.stem}_label.bmp", folder)
            for folder in subfolders(root)
            for image in images_in(root / folder, (".jpg",))
        ]


@LAYOUTS.register("kolektor_sdd2")
class KolektorSdd2(Layout):
    """With its own training and test splits; files called "(copy)" are passed over."""

    expected = "expected are train/ and test/ with 10000.png and 10000_GT.png (vicos.si, KolektorSDD2)"
    folders = ("train", "test")

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        expect_defects(defects, ["defect"])
        return [
            _item(f"{split}/{stem}", image, f"{stem}_GT.png", f"{split}/{stem}", split)
            for split in self.folders
            for stem, image in by_stem(
                path for path in images_in(root / split, (".png",)) if "(copy)" not in path.stem
            ).items()
            if not stem.endswith("_GT")
        ]


def _item(name: str, image: Path, mask: str, group: str, split: str | None = None) -> Item:
    annotation = MaskFile(expected_mask(image.with_name(mask), image))
    return Item(name, image, {"defect": (annotation,)}, group, split)
