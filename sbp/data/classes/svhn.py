"""Street View House Numbers, cropped digits, as published (Netzer et al. 2011)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sbp.data.classes.source import ClassSource
from sbp.data.layouts.files import checked_root
from sbp.data.source import SOURCES
from sbp.errors import UserError

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
EXPECTED = f"expected are {' and '.join(FILES.values())}, the cropped digits"


@SOURCES.register("svhn")
@dataclass(kw_only=True)
class Svhn(ClassSource):
    """Cropped digits of house numbers in colour, 32 x 32 pixels (Netzer et al. 2011): 73,257 for training and
    26,032 for the test, of which the digit 0 is stored as class 10. root: the folder of both .mat files."""

    root: str | None = None

    def files(self) -> Sequence[Path]:
        root = checked_root(self.root, EXPECTED)
        for name in FILES.values():
            if not (root / name).is_file():
                raise UserError(f"{root}: holds no file {name}; {EXPECTED}")
        return [root / name for name in FILES.values()]

    @cached_property
    def _arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Pixels (32, 32, 3, N) uint8 and digits (N,) of each split."""
        return {split: _read(path) for split, path in zip(FILES, self.files(), strict=True)}

    def labels(self) -> Mapping[str, np.ndarray]:
        return {split: digits for split, (_, digits) in self._arrays.items()}

    def pixels(self, split: str, number: int) -> np.ndarray:
        return np.ascontiguousarray(self._arrays[split][0][..., number])


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=("X", "y"))
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise UserError(f"{path}: not read: {' '.join(str(error).split())[:200]}") from None
    pixels, digits = content.get("X", np.empty(0)), content.get("y", np.empty(0)).ravel()
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(digits)):
        raise UserError(f"{path}: must hold X, an array (32, 32, 3, N) uint8, and y, N numbers")
    return pixels, digits.astype(np.int64) % 10
