"""Where the tiles of a large image lie: those that cover it, and those that it is trained on."""

import math
from dataclasses import dataclass

import numpy as np

from sbp.data.source import defects_held
from sbp.seeding import Purpose, generator

Place = tuple[int, int]
"""First row and column of a tile."""

TRIES = 8
"""Places that are tried for a tile that has to hold the same defects there as in its grid."""


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


@dataclass(frozen=True)
class TileGrid:
    """The fixed tiles of every image of a set, numbered row by row: what a tile is known by.

    height, width: of the images; side: of a tile; places: where each lies.
    """

    height: int
    width: int
    side: int
    places: tuple[Place, ...]

    @classmethod
    def covering(cls, height: int, width: int, side: int) -> "TileGrid":
        """The fewest tiles that cover an image, evenly spread."""
        rows, columns = tile_starts(height, side), tile_starts(width, side)
        return cls(height, width, side, tuple((y, x) for y in rows for x in columns))

    def __len__(self) -> int:
        """Tiles per image."""
        return len(self.places)

    def part(self, tile: int) -> tuple[slice, slice]:
        """Rows and columns of tile number `tile`."""
        y, x = self.places[tile]
        return slice(y, y + self.side), slice(x, x + self.side)

    def scaled(self, height: int, width: int) -> "TileGrid":
        """The same tiles of images that were brought to another size, as scoring.scale_factor does."""
        if (height, width) == (self.height, self.width):
            return self
        down, across = height / self.height, width / self.width
        side = min(round(self.side * down), height, width)
        places = (
            (min(round(y * down), height - side), min(round(x * across), width - side))
            for y, x in self.places
        )
        return TileGrid(height, width, side, tuple(places))

    def labels(self, masks: np.ndarray) -> np.ndarray:
        """(T, D) bool, which defects each tile of an image's masks (H, W, D) holds."""
        return np.stack([defects_held(masks[self.part(tile)]) for tile in range(len(self))])


class TrainingTiles:
    """The tiles that an image is trained on: a grid that covers it, with each tile moved at random.

    So training on an image means training on all of it, at the cost of a forward and a backward pass over
    its pixels, and no border lies at the same place in every epoch. A tile's place is a function of (seed,
    epoch, image, copy) alone. Images are (height, width), at least `side` pixels each way. by_tile: an epoch
    is planned of single tiles, see SelectionUnits, and each moves only as far as it holds the same defects.
    """

    def __init__(self, height: int, width: int, side: int, seed: int, by_tile: bool = False):
        self.side, self.seed, self.by_tile = side, seed, by_tile
        self.grid = TileGrid.covering(height, width, side)
        self.room = (height - side, width - side)

    def __len__(self) -> int:
        """Tiles per image."""
        return len(self.grid)

    def place(self, epoch: int, index: int, copy: int) -> Place:
        """First row and column of an image's tile number `copy`; after the last, the grid begins anew."""
        return self._moved(generator(self.seed, Purpose.TILE_PLACE, epoch, index, copy), copy)

    def place_alike(self, masks: np.ndarray, epoch: int, index: int, copy: int) -> Place:
        """The same, but of a tile that holds the same defects of masks (H, W, D) there as in the grid, by
        which it was labelled and chosen: the first such place of several, or that in the grid."""
        rng = generator(self.seed, Purpose.TILE_PLACE, epoch, index, copy)
        home = self.grid.places[copy % len(self)]
        held = self._held(masks, home)
        for _ in range(TRIES):
            place = self._moved(rng, copy)
            if (self._held(masks, place) == held).all():
                return place
        return home

    def _moved(self, rng: np.random.Generator, copy: int) -> Place:
        moved = np.array(self.grid.places[copy % len(self)]) + rng.integers(
            -(self.side // 4), self.side // 4 + 1, size=2
        )
        y, x = np.clip(moved, 0, self.room)
        return int(y), int(x)

    def _held(self, masks: np.ndarray, place: Place) -> np.ndarray:
        return defects_held(self.cut(masks, place))

    def cut(self, array: np.ndarray, place: Place) -> np.ndarray:
        """The tile there of an image or its masks (H, W, K), as (side, side, K)."""
        y, x = place
        return array[y : y + self.side, x : x + self.side]
