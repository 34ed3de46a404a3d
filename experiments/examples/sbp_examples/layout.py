"""A layout of files: NAME.png and, if it shows the defect, NAME.mask.png beside it."""

from collections.abc import Sequence
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts import LAYOUTS, Layout
from sbp.errors import UserError
from sbp.plugins.checks import require


@LAYOUTS.register("pairs")
class Pairs(Layout):
    """One defect; pixels of the mask above `threshold`, 0 to 254, are annotated."""

    expected = "expected are NAME.png and, for an image with the defect, NAME.mask.png"

    def __init__(self, threshold: int = 127):
        require(0 <= threshold <= 254, "threshold", threshold, "between 0 and 254")
        self.threshold = threshold

    def items(self, root: Path, defects: Sequence[str]) -> list[Item]:
        if len(defects) != 1:
            raise UserError(
                f"data.defects={list(defects)}: must be one defect, the masks tell no others apart"
            )
        images = sorted(path for path in root.glob("*.png") if not path.name.endswith(".mask.png"))
        return [Item(path.stem, path, self._annotations(path, defects[0]), path.stem) for path in images]

    def _annotations(self, image: Path, defect: str) -> dict[str, tuple[MaskFile, ...]]:
        mask = image.with_suffix(".mask.png")
        return {defect: (MaskFile(mask, None, self.threshold),)} if mask.is_file() else {}
