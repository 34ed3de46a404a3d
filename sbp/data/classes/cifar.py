"""CIFAR-10 and CIFAR-100 as their archives for Python hold them (Krizhevsky 2009)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from sbp.data.classes.pickles import read_plain
from sbp.data.classes.source import ClassSource
from sbp.data.layouts.files import checked_root
from sbp.data.source import SOURCES
from sbp.errors import UserError

SIDE = 32


@dataclass(kw_only=True)
class Cifar(ClassSource):
    """Colour images of 32 x 32 pixels in pickles, of which only arrays and plain values are read. A
    validation split is drawn from the training images. root: the unpacked archive."""

    folder: ClassVar[str]
    parts: ClassVar[dict[str, tuple[str, ...]]]
    key: ClassVar[bytes]

    root: str | None = None

    def files(self) -> Sequence[Path]:
        return [path for paths in self._paths.values() for path in paths]

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        every = [name for names in self.parts.values() for name in names]
        expected = f"expected is the unpacked archive {self.folder} with {', '.join(every)}"
        root = checked_root(self.root, expected)
        if (root / self.folder).is_dir():
            root /= self.folder
        for name in every:
            if not (root / name).is_file():
                raise UserError(f"{root}: holds no file {name}; {expected}")
        return {split: [root / name for name in names] for split, names in self.parts.items()}

    @cached_property
    def _arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Pixels (N, 3072) uint8 and classes (N,) of each split."""
        read = {split: [self._read(path) for path in paths] for split, paths in self._paths.items()}
        return {split: (np.concatenate(p), np.concatenate(k)) for split, (p, k) in _columns(read).items()}

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        content = read_plain(path)
        pixels, classes = content.get(b"data"), content.get(self.key)
        if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and isinstance(classes, list):
            numbers = all(isinstance(k, int) for k in classes)
            if numbers and pixels.shape == (len(classes), 3 * SIDE**2):
                return pixels, np.array(classes, dtype=np.int64)
        key = self.key.decode()
        raise UserError(f"{path}: must hold data, an array (N, {3 * SIDE**2}) uint8, and {key}, N numbers")

    def labels(self) -> Mapping[str, np.ndarray]:
        return {split: classes for split, (_, classes) in self._arrays.items()}

    def pixels(self, split: str, number: int) -> np.ndarray:
        channels_first = self._arrays[split][0][number].reshape(3, SIDE, SIDE)
        return np.ascontiguousarray(channels_first.transpose(1, 2, 0))


def _columns(read: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, tuple[list, list]]:
    return {split: ([p for p, _ in pairs], [k for _, k in pairs]) for split, pairs in read.items()}


@SOURCES.register("cifar10")
@dataclass(kw_only=True)
class Cifar10(Cifar):
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of ten classes. root: the unpacked
    archive for Python."""

    folder = "cifar-10-batches-py"
    parts: ClassVar = {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)}
    key = b"labels"


@SOURCES.register("cifar100")
@dataclass(kw_only=True)
class Cifar100(Cifar):
    """CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of a hundred fine classes. root:
    the unpacked archive for Python."""

    folder = "cifar-100-python"
    parts: ClassVar = {"train": ("train",), "test": ("test",)}
    key = b"fine_labels"
