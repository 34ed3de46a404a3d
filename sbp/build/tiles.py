"""From config to the parts that train on tiles of large images and look at whole ones (data.fit=tile), and to
what is selected: images or tiles."""

import logging

import numpy as np
from torch import nn

from sbp import config as c
from sbp.data.dataset import DataSet
from sbp.data.tiles import TrainingTiles, tile_count
from sbp.data.units import SelectionUnits, tile_units
from sbp.engine.budget import ModelCost
from sbp.engine.device import Compute
from sbp.engine.flops import count_flops
from sbp.engine.tiling import Tiled
from sbp.utils.progress import CountProgress

log = logging.getLogger("sbp")


def tiled(config: c.Config) -> c.DiskData | None:
    """The data group's config if its images are trained on in tiles."""
    data = config.data
    return data if isinstance(data, c.DiskData) and data.fit == "tile" else None


def whole_images(config: c.Config, model: nn.Module, compute: Compute) -> nn.Module:
    """What maps whole images to logits: the model, or its tiles put together."""
    data = tiled(config)
    if data is None:
        return model
    batch = config.evaluation.batch_size
    return Tiled(model, data.image_size, data.tile_overlap, batch, compute.memory_format)


def training_tiles(config: c.Config, data: DataSet) -> TrainingTiles | None:
    """The tiles of each training image, or None to train on whole images."""
    if tiled(config) is None:
        return None
    height, width = data.train.image_shape
    by_tile = config.selection.unit == "tile"
    return TrainingTiles(height, width, config.data.image_size, config.seed, by_tile)


def selection_units(data: DataSet, tiles: TrainingTiles | None) -> SelectionUnits:
    """What is selected: training images, or their tiles, which are labelled first if need be."""
    if tiles is None or not tiles.by_tile:
        return SelectionUnits(data.train.labels)
    progress = CountProgress(f"labelling the tiles of {data.name}", "defective images")
    units = tile_units(data, tiles.grid, progress)
    share = np.count_nonzero(units.labels.any(axis=1)) / len(units)
    log.info("%d tiles of %d images, %.3g %% of them defective", len(units), len(data.train), 100 * share)
    return units


def images_at_once(config: c.Config, batch_size: int, shape: tuple[int, int]) -> int:
    """Images of a scoring or evaluation batch: with tiles, as many as make about batch_size tiles."""
    data = tiled(config)
    return batch_size if data is None else max(1, batch_size // tile_count(*shape, data.image_size))


def image_cost(config: c.Config, model: nn.Module, shape: tuple[int, int]) -> ModelCost:
    """FLOPs of an image of `shape`: with tiles, of as many as it is trained on and scored in."""
    data, scale = tiled(config), config.scoring.scale_factor
    if data is None:
        return count_flops(model, config.data.channels, config.data.image_size, scale)
    tile = count_flops(model, config.data.channels, data.image_size)
    trained = tile_count(*shape, data.image_size)
    height, width = (int(pixels * scale) for pixels in shape)
    scored = tile_count(height, width, data.image_size, data.tile_overlap)
    return ModelCost(trained * tile.forward, trained * tile.training, scored * tile.scoring)
