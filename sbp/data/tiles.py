"""Where the tiles of a large image lie: those that cover it, and those that it is trained on."""

import math

import numpy as np

from sbp.seeding import Purpose, generator


def tile_starts(length: int, side: int, overlap: float = 0.0) -> list[int]:
    """First pixels of the fewest tiles of `side` pixels that cover `length` pixels, evenly spread.

    overlap: share of a tile that neighbours have in common at least, in [0, 1). An axis no longer than a
    tile has one.
    """
    if length <= side:
        return [0]
    shared = math.floor(overlap * side)
    count = math.ceil((length - shared) / (side - shared))
    return [round(k * (length - side) / (count - 1)) for k in range(count)]


def tile_count(height: int, width: int, side: int, overlap: float = 0.0) -> int:
    """Number of tiles that cover an image."""
    return len(tile_starts(height, side, overlap)) * len(tile_starts(width, side, overlap))


class TrainingTiles:
    """The tiles that an image is trained on: a grid that covers it, with each tile moved at random.

    So training on an image means training on all of it, at the cost of a forward and a backward pass over
    its pixels, and no border lies at the same place in every epoch. A tile's place is a function of (seed,
    epoch, image, copy) alone. Images are (height, width), at least `side` pixels each way.
    """

    def __init__(self, height: int, width: int, side: int, seed: int):
        self.side, self.seed = side, seed
        self.grid = [(y, x) for y in tile_starts(height, side) for x in tile_starts(width, side)]
        self.room = (height - side, width - side)

    def __len__(self) -> int:
        """Tiles per image."""
        return len(self.grid)

    def place(self, epoch: int, index: int, copy: int) -> tuple[int, int]:
        """First row and column of an image's tile number `copy`; after the last, the grid begins anew."""
        rng = generator(self.seed, Purpose.TILE_PLACE, epoch, index, copy)
        moved = np.array(self.grid[copy % len(self.grid)]) + rng.integers(
            -(self.side // 4), self.side // 4 + 1, size=2
        )
        y, x = np.clip(moved, 0, self.room)
        return int(y), int(x)

    def cut(self, array: np.ndarray, epoch: int, index: int, copy: int) -> np.ndarray:
        """That tile of an image or its masks (H, W, K), as (side, side, K)."""
        y, x = self.place(epoch, index, copy)
        return array[y : y + self.side, x : x + self.side]
