"""Some of the images of an array, without a copy of them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sbp.data.mapped_file import MappedFile

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
        """For another process: an array that is mapped from a file goes by its path, not by its bytes."""
        return vars(self) | {"array": MappedFile.of(self.array) or self.array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        array = state["array"]
        self.__dict__ |= state | {"array": array.open() if isinstance(array, MappedFile) else array}
