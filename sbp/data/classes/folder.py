"""Images of one's own: a folder for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sbp.data.classes.source import ClassSource
from sbp.data.disk.decode import read_image
from sbp.data.layouts.files import SPLIT_NAMES, checked_root, images_below, subfolders
from sbp.data.source import SOURCES
from sbp.errors import UserError

EXPECTED = "expected are CLASS/IMAGE, or train/CLASS/IMAGE and, if there are such, val/ and test/ beside it"


@SOURCES.register("image_folder")
@dataclass(kw_only=True)
class ImageFolder(ClassSource):
    """Folders that are called after the class of the images in them, all of them in folders that are called
    after splits, train, val and test, or not. defects: the classes; empty: all that there are."""

    root: str | None = None

    @classmethod
    def defects_in(cls, root: str | None) -> list[str]:
        """The classes that the folders in `root` name, in alphabetical order. Raises UserError."""
        path = checked_root(root, EXPECTED)
        return sorted({name for folder in _splits(path).values() for name in subfolders(folder)})

    @cached_property
    def _images(self) -> dict[str, list[tuple[Path, int]]]:
        """Path and class of each image, by the split of its folder."""
        root = checked_root(self.root, EXPECTED)
        found = {}
        for split, folder in _splits(root).items():
            for name in subfolders(folder):
                if name not in self.defects:
                    raise UserError(f"{folder / name}: is no class of data.defects={[*self.defects]}")
            classes = enumerate(self.defects)
            found[split] = [(path, k) for k, name in classes for path in images_below(folder / name)]
            if not found[split]:
                raise UserError(f"{folder}: holds no image; {EXPECTED}")
        if "train" not in found:
            raise UserError(f"{root}: holds no folder train, but {', '.join(found)}; {EXPECTED}")
        return found

    def files(self) -> Sequence[Path]:
        return [path for images in self._images.values() for path, _ in images]

    def describe(self) -> dict:
        root = Path(self.root or "").expanduser()
        return super().describe() | {"names": [str(path.relative_to(root)) for path in self.files()]}

    def labels(self) -> Mapping[str, np.ndarray]:
        return {split: np.array([k for _, k in images]) for split, images in self._images.items()}

    def pixels(self, split: str, number: int) -> np.ndarray:
        return read_image(self._images[split][number][0], self.channels)

    def title(self, split: str, number: int) -> str:
        path = self._images[split][number][0]
        return str(path.relative_to(Path(self.root or "").expanduser()))


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split: those that are called so, or the whole root as the training images."""
    named = {
        SPLIT_NAMES[name.lower()]: root / name for name in subfolders(root) if name.lower() in SPLIT_NAMES
    }
    return named or {"train": root}
