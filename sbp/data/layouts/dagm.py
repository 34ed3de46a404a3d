"""DAGM 2007: ten textures, each with a defect of its own."""

from collections.abc import Sequence
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, Layout
from sbp.data.layouts.files import by_stem, checked_root, expect_defects, expect_some, images_in
from sbp.errors import UserError


@LAYOUTS.register("dagm")
class Dagm(Layout):
    """Defects class1 to class10, weakly annotated by ellipses; with its own training and test splits. Only
    the textures of the chosen defects are read."""

    expected = (
        "expected are folders Class1 ... Class10 with Train/0001.PNG, Test/0001.PNG and, for defective "
        "images, Train/Label/0001_label.PNG (DAGM 2007, hci.iwr.uni-heidelberg.de)"
    )

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        expect_defects(defects, [f"class{k}" for k in range(1, 11)])
        places = [(defect, split) for defect in defects for split in ("Train", "Test")]
        return [item for place in places for item in self._of(root, *place)]

    def _of(self, root: Path, defect: str, split: str) -> list[Item]:
        """The images of one texture and split."""
        place = f"Class{defect.removeprefix('class')}/{split}"
        folder = checked_root(str(root), self.expected, (place,)) / place
        images = images_in(folder, (".png",))
        expect_some(images, folder, self.expected)
        labels = by_stem(images_in(folder / "Label", (".png",))) if (folder / "Label").is_dir() else {}
        stems = {f"{image.stem}_label" for image in images}
        for stem, label in labels.items():
            if stem not in stems:
                raise UserError(f"{label}: there is no image of that name in {folder}")
        items = []
        for image in images:
            mask = labels.get(f"{image.stem}_label")
            held = {defect: (MaskFile(mask),)} if mask else {}
            name = f"{place}/{image.stem}"
            items.append(Item(name, image, held, name, split.lower(), tuple(held)))
        return items
