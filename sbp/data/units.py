"""What selection counts: whole images, or their tiles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sbp.data.dataset import DataSet, Images, Split
from sbp.data.source import defects_held
from sbp.data.tiles import TileGrid
from sbp.utils.files import file_lock, write_atomically


@dataclass(frozen=True)
class SelectionUnits:
    """The rows of the score book: the training images or, with `grid`, the tiles of each image one after the
    other. Tile t of image i is unit i * T + t, T tiles per image.

    labels: (N, D) bool, which defects a unit holds.
    """

    labels: np.ndarray
    grid: TileGrid | None = None

    @property
    def per_image(self) -> int:
        """Units that an image has."""
        return 1 if self.grid is None else len(self.grid)

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, units: np.ndarray) -> np.ndarray:
        """The images that `units` (n,) lie in, each once, ascending; images themselves as they come."""
        if self.grid is None:
            return units
        named = np.zeros(len(self), dtype=bool)
        named[units] = True
        return np.flatnonzero(named.reshape(-1, self.per_image).any(axis=1))

    def of_images(self, images: np.ndarray) -> np.ndarray:
        """(n * T,) all units of `images` (n,), image by image."""
        if self.grid is None:
            return images
        return (images[:, None] * self.per_image + np.arange(self.per_image)).reshape(-1)

    def held(self, masks: np.ndarray) -> np.ndarray:
        """(T, D) bool, which defects the units of an image hold by its masks (H, W, D)."""
        return defects_held(masks)[None] if self.grid is None else self.grid.labels(masks)

    def name(self, split: Split, unit: int) -> str:
        """The image's name, with a tile's first row and column."""
        image, tile = divmod(int(unit), self.per_image)
        if self.grid is None:
            return split.names[image]
        y, x = self.grid.places[tile]
        return f"{split.names[image]}, tile at row {y}, column {x}"

    def stacked(self, arrays: Images, units: np.ndarray) -> np.ndarray:
        """(n, h, w, K), what `units` (n,) show of the images' arrays (N, H, W, K)."""
        if self.grid is None:
            return np.array(arrays[units])
        return np.stack([self.cut(arrays[int(unit) // self.per_image], unit) for unit in units])

    def cut(self, array: np.ndarray, unit: int) -> np.ndarray:
        """What `unit` shows of its image's array (H, W, K)."""
        if self.grid is None:
            return array
        return array[self.grid.part(int(unit) % self.per_image)]


def tile_units(
    data: DataSet, grid: TileGrid, progress: Callable[[int, int], None] | None = None
) -> SelectionUnits:
    """The tiles of the training images.

    Their labels are read from the masks once and kept with the data set's cache; only masks of defective
    images are looked at. progress(done, total) counts images.
    """
    path = data.path / f"train_labels_of_tiles_{grid.side}.npy"
    if not path.is_file():
        lock = path.with_name(f".{path.name}.lock")
        with file_lock(lock, waiting="another run is labelling the tiles; waiting for it"):
            if not path.is_file():
                labels = tile_labels(data.train, grid, progress)
                write_atomically(path, lambda file: np.save(file, labels))
    return SelectionUnits(np.load(path, allow_pickle=False), grid)


def tile_labels(
    split: Split, grid: TileGrid, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """(N * T, D) bool, which defects each tile of each image holds; one image's masks in memory at a time."""
    labels = np.zeros((len(split), len(grid), split.labels.shape[1]), dtype=bool)
    defective = np.flatnonzero(split.labels.any(axis=1))
    for done, image in enumerate(defective, start=1):
        labels[image] = grid.labels(split.masks[int(image)])
        if progress:
            progress(done, len(defective))
    return labels.reshape(-1, labels.shape[2])
