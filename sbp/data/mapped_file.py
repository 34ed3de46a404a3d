"""An array that is mapped from a file, as another process can open it."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MappedFile:
    """The first `length` rows of an array in an .npy file."""

    path: str
    length: int

    @classmethod
    def of(cls, array: Any) -> "MappedFile | None":
        """What `array` is mapped from; None where it is not."""
        if not isinstance(array, np.memmap) or array.filename is None:
            return None
        return cls(str(array.filename), len(array))

    def open(self) -> np.ndarray:
        """Map it, read-only."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)[: self.length]
