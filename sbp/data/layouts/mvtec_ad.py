"""MVTec AD: fifteen categories, made for anomaly detection."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout
from sbp.data.layouts.files import expect_defects, expected_mask, images_in, subfolders


@LAYOUTS.register("mvtec_ad")
@dataclass(frozen=True)
class MvtecAd(Layout):
    """One category, split anew, since its training split holds no defect."""

    category: str

    expected = (
        "expected are CATEGORY/train/good, CATEGORY/test/DEFECT/000.png and "
        "CATEGORY/ground_truth/DEFECT/000_mask.png (mvtec.com, MVTec AD)"
    )
    folders = ("{category}/train/good", "{category}/test")

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        folder = root / self.category
        expect_defects(defects, [name for name in subfolders(folder / "test") if name != "good"])
        healthy = [place for place in ("train/good", "test/good") if (folder / place).is_dir()]
        found = [(f"{place}/{image.stem}", image) for place in healthy for image in images_in(folder / place)]
        items = [Item(name, image, {}, name) for name, image in found]
        for defect in defects:
            for image in images_in(folder / "test" / defect):
                mask = expected_mask(folder / "ground_truth" / defect / f"{image.stem}_mask.png", image)
                name = f"test/{defect}/{image.stem}"
                items.append(Item(name, image, {defect: (MaskFile(mask),)}, name, None, (defect,)))
        return items
