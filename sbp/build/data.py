"""From the data group's config to a data set: layout, split, cache."""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from sbp import config as c
from sbp.config.data import DATA_SCHEMAS, InspectionData
from sbp.data.dataset import DataSet, open_data
from sbp.data.disk.listing import Listing
from sbp.data.disk.source import ListedSource, Reading, Splitting
from sbp.data.source import Source
from sbp.errors import UserError

log = logging.getLogger("sbp")


def build_source(config: c.DataConfig, output_root: str | Path) -> Source:
    """The data set's source; it checks what can be checked without reading images."""
    if isinstance(config, InspectionData):
        from sbp.data.synthetic import InspectionSource

        known = {"name", "channels", "compute", "defects", "common", "rare"}
        return InspectionSource(**{k: v for k, v in vars(config).items() if k not in known})
    if isinstance(config, c.DiskData):
        memory = Path(output_root) / "cache" / "contents.json"
        return ListedSource(
            config.name, build_listing(config), reading(config), splitting(config, output_root), memory
        )
    raise UserError(f"data.name={config.name}: must be one of {', '.join(DATA_SCHEMAS)}")


def build_listing(config: c.DiskData) -> Listing:
    """The files of a set on disk, by its layout."""
    from sbp.data.layouts import public
    from sbp.data.layouts.coco import list_coco
    from sbp.data.layouts.magnetic_tile import list_magnetic_tile
    from sbp.data.layouts.masks import list_masks
    from sbp.data.layouts.table import list_table

    layouts: dict[str, Callable[..., Listing]] = {
        "masks": list_masks,
        "coco": list_coco,
        "table": list_table,
        "magnetic_tile": list_magnetic_tile,
        "severstal": public.list_severstal,
        "kolektor_sdd": public.list_kolektor_sdd,
        "kolektor_sdd2": public.list_kolektor_sdd2,
        "dagm": public.list_dagm,
        "mvtec_ad": public.list_mvtec_ad,
        "visa": public.list_visa,
    }
    own = {key: value for key, value in vars(config).items() if key not in vars(c.DiskData) | _BASE}
    return layouts[config.name](config.root, config.defects, **own)


_BASE = dict.fromkeys(c.DiskData.__dataclass_fields__)


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
    process. A set that cannot be read has the digest of what is wrong with it: opening it says that."""
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
    reporter = CacheReporter(config.data.name)
    cache = config.data.cache if isinstance(config.data, c.DiskData) else "disk"
    return open_data(build_source(config.data, config.output_root), cache_root(config), reporter, cache)


class CacheReporter:
    """Says, now and then, how far the cache is."""

    def __init__(self, name: str, interval_s: float = 5.0):
        self.name, self.interval_s, self.last = name, interval_s, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last > self.interval_s:
            self.last = now
            log.info("preparing %s: %d of %d images", self.name, done, total)
