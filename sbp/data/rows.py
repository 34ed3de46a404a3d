"""Some of the images of an array, or parts of their masks as unknown, without a copy of them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sbp.data.mapped_file import MappedFile
from sbp.data.source import VOID

if TYPE_CHECKING:
    from sbp.data.dataset import Images


class ChosenRows:
    """The rows `numbers` (n,) of `array` (N, H, W, K), as an array that is indexed along its first axis."""

    def __init__(self, array: "Images", numbers: np.ndarray):
        self.array, self.numbers = array, np.asarray(numbers)
        self.shape: tuple[int, ...] = (len(numbers), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(key, int | np.integer):
            return self.array[int(self.numbers[key])]
        return self.array[self.numbers[key]]

    def __getstate__(self) -> dict[str, Any]:
        return _by_path(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= _opened(state)


class VoidedRows:
    """The masks `array` (N, H, W, D) with VOID in the channels that `void` (N, D) says, as an array that is
    indexed along its first axis."""

    def __init__(self, array: "Images", void: np.ndarray):
        self.array, self.void = array, void
        self.shape: tuple[int, ...] = array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        void = self.void[key]
        return np.where(void[..., None, None, :], np.uint8(VOID), self.array[key])

    def __getstate__(self) -> dict[str, Any]:
        return _by_path(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= _opened(state)


def _by_path(state: dict[str, Any]) -> dict[str, Any]:
    """For another process: an array that is mapped from a file goes by its path, not by its bytes."""
    return state | {"array": MappedFile.of(state["array"]) or state["array"]}


def _opened(state: dict[str, Any]) -> dict[str, Any]:
    array = state["array"]
    return state | {"array": array.open() if isinstance(array, MappedFile) else array}
