"""From the data group's config to a data set: layout, split, cache."""

import hashlib
import json
from pathlib import Path

from sbp import config as c
from sbp.config import make
from sbp.data.dataset import DataSet, open_data
from sbp.data.disk.source import ListedSource, Reading, Splitting
from sbp.data.source import Source
from sbp.errors import UserError
from sbp.utils.progress import CountProgress


def build_source(config: c.DataConfig, output_root: str | Path) -> Source:
    """The data set's source; it checks what can be checked without reading images."""
    made = make("data", config)
    if not isinstance(config, c.DiskData):
        return made
    listing = made.list(config.root, config.defects)
    digest_cache = Path(output_root) / "cache" / "contents.json"
    return ListedSource(config.name, listing, reading(config), splitting(config, output_root), digest_cache)


def reading(config: c.DiskData) -> Reading:
    """How the files become samples."""
    return Reading(
        height=config.image_size,
        width=config.image_size,
        fit=config.fit,
        channels=config.channels,
        white_level=config.white_level,
        skip_bad=config.on_bad == "skip",
    )


def splitting(config: c.DiskData, output_root: str | Path) -> Splitting:
    """How the images are split, and where that is kept."""
    val, test = config.val_fraction, config.test_fraction
    fractions = {"train": 1 - val - test, "val": val, "test": test}
    file = Path(config.split_file) if config.split_file else default_split_file(config, output_root)
    return Splitting(fractions, config.seed, config.split_by, file)


NOT_SPLIT = {
    "image_size",
    "compute",
    "channels",
    "common",
    "rare",
    "fit",
    "tile_overlap",
    "cache",
    "white_level",
    "on_bad",
    "split_file",
}
"""Keys that do not matter to which image is in which split."""


def default_split_file(config: c.DiskData, output_root: str | Path) -> Path:
    """One file for each folder of images and way to split it."""
    key = {name: value for name, value in vars(config).items() if name not in NOT_SPLIT}
    key |= {"root": str(Path(config.root or "").expanduser().resolve()), "defects": sorted(config.defects)}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    return Path(output_root) / "splits" / f"{config.name}-{digest}.csv"


def cache_root(config: c.Config) -> Path:
    """Where decoded data sets are kept, shared by all runs of an output folder."""
    return Path(config.output_root) / "cache"


def content(config: c.DiskData, output_root: str | Path) -> str:
    """12 hex digits of the images and masks on disk that a run uses, and of their split. Looked up once per
    process. A set that cannot be read has the digest of the error: opening it raises that."""
    key = json.dumps([vars(config), str(output_root)], sort_keys=True, default=str)
    if key not in _contents:
        try:
            described = json.dumps(build_source(config, output_root).describe(), sort_keys=True)
        except UserError as error:
            described = str(error)
        _contents[key] = hashlib.sha256(described.encode()).hexdigest()[:12]
    return _contents[key]


_contents: dict[str, str] = {}


def open_cached(config: c.Config) -> DataSet:
    """The config's data set, decoded into the cache first if it is not there yet."""
    progress = CountProgress(f"preparing {config.data.name}")
    cache = getattr(config.data, "cache", "disk")
    return open_data(build_source(config.data, config.output_root), cache_root(config), progress, cache)
