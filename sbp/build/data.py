"""From the data group's config to a data set: layout, split, cache."""

import hashlib
import json
import logging
from pathlib import Path

from sbp import config as c
from sbp.build.folds import without_fold
from sbp.config import make
from sbp.config.schemas import own_keys, registered
from sbp.data.dataset import DataSet, open_data
from sbp.data.disk.source import ListedSource, Reading, Splitting
from sbp.data.source import Source
from sbp.data.splits.split_file import is_split_file
from sbp.errors import UserError
from sbp.plugins.discovery import foreign_source
from sbp.utils.progress import CountProgress

log = logging.getLogger("sbp")
_said: set[str] = set()


def build_source(config: c.DataConfig, output_root: str | Path) -> Source:
    """The data set's source; it checks what can be checked without reading images."""
    made = make("data", config)
    if not isinstance(config, c.DiskData):
        return made
    size, val, test = config.image_size, config.val_fraction, config.test_fraction
    listing = made.list(config.root, config.defects)
    if listing.about and listing.about not in _said:  # a run asks more than once
        log.info("%s: %s", config.root, listing.about)
        _said.add(listing.about)
    skip_bad = config.on_bad == "skip"
    exif = listing.exif if config.exif is None else config.exif == "apply"
    reading = Reading(size, size, config.fit, config.channels, config.white_level, skip_bad, exif)
    file = _split_file(config, output_root)
    fractions = {"train": 1 - val - test, "val": val, "test": test}
    splitting = Splitting(fractions, config.seed, config.split_by, file, config.official_splits)
    digest_cache = Path(output_root) / "cache" / "contents.json"
    known = None if config.known is None else Path(config.root or "").expanduser() / config.known
    return ListedSource(config.name, listing, reading, splitting, digest_cache, known)


def _split_file(config: c.DiskData, output_root: str | Path) -> Path:
    """The one that is named, else split.csv with the images (`sbp data convert` writes it), else one in the
    output folder."""
    beside = Path(config.root or "").expanduser() / "split.csv"
    if config.split_file:
        return Path(config.split_file)
    return beside if is_split_file(beside) else default_split_file(config, output_root)


SPLIT_KEYS = {"name", "seed", "root", "defects", "val_fraction", "test_fraction", "split_by"}
"""Keys that, beside the layout's own, matter to which image is in which split."""


def default_split_file(config: c.DiskData, output_root: str | Path) -> Path:
    """One file for each folder of images and way to split it."""
    key = {name: getattr(config, name) for name in SPLIT_KEYS | own_keys("data", config.name)}
    if not config.official_splits:  # else the file is called as it was before there was the key
        key["official_splits"] = False
    key |= {"root": str(Path(config.root or "").expanduser().resolve()), "defects": sorted(config.defects)}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    return Path(output_root) / "splits" / f"{config.name}-{digest}.csv"


def content(config: c.DataConfig, output_root: str | Path) -> str:
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
    """The config's data set, decoded first if it is not yet in the cache, which all runs of an output folder
    share; without the training images that folds.without leaves out."""
    progress = CountProgress(f"preparing {config.data.name}")
    source, folder = build_source(config.data, config.output_root), Path(config.output_root) / "cache"
    code = foreign_source(registered("data", config.data.name))
    data = open_data(source, folder, progress, getattr(config.data, "cache", "disk"), code)
    return without_fold(config, source, data) if config.folds.count else data
