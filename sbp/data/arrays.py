"""A data set as memory-mapped uint8 arrays, decoded once and cached on disk."""

import contextlib
import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbp.data.cache import build_cache
from sbp.data.source import Source

FORMAT_VERSION = 2

log = logging.getLogger("sbp")


@dataclass(frozen=True)
class Split:
    """One split: images (N, H, W, C) uint8, masks and clean_masks (N, H, W, D) uint8 in {0, 1}.

    The arrays are memory-mapped and read-only. labels: (N, D) bool, whether an image's annotation holds
    the defect. kinds: what an image holds beside defects, see Sample.kind.
    """

    images: np.ndarray
    masks: np.ndarray
    clean_masks: np.ndarray | None
    labels: np.ndarray
    names: list[str]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class DataSet:
    """All splits of a data set. mean, std: of the training images' grey values, in [0, 1], per channel."""

    name: str
    defects: tuple[str, ...]
    splits: dict[str, Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    path: Path

    @property
    def train(self) -> Split:
        """The training split."""
        return self.splits["train"]


def open_data(
    source: Source, cache_root: str | Path, progress: Callable[[int, int], None] | None = None
) -> DataSet:
    """The data set of `source`, from the cache below `cache_root`, which is filled first if need be.

    The cache is keyed by what the source says of its content, so that changed files make another one.
    Processes that want the same one wait for the first of them; a build that was killed is continued.
    progress(done, total) is called while images are decoded. Raises UserError for a bad file (unless the
    source skips those) and where the disk has no room.
    """
    description = {"format": FORMAT_VERSION, "source": source.name, **source.describe()}
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(cache_root) / f"{source.name}-{digest}"
    if not (folder / "meta.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f".{folder.name}.lock")):
            if not (folder / "meta.json").is_file():
                build_cache(source, folder, description, progress)
    return _open(source, folder, digest)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it, however that ends."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another run is preparing the images; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(source: Source, folder: Path, digest: str) -> DataSet:
    meta = json.loads((folder / "meta.json").read_text())

    def load(split: str, key: str) -> np.ndarray:
        # images that were skipped leave rows behind that were never written
        written = len(meta["splits"][split]["names"])
        return np.load(folder / f"{split}_{key}.npy", mmap_mode="r", allow_pickle=False)[:written]

    splits = {}
    for split, about in meta["splits"].items():
        clean = load(split, "clean_masks") if (folder / f"{split}_clean_masks.npy").is_file() else None
        splits[split] = Split(
            load(split, "images"),
            load(split, "masks"),
            clean,
            np.array(load(split, "labels")),
            about["names"],
            about["kinds"],
        )
    for line in meta["skipped"]:
        log.warning("skipped: %s", line)
    mean, std = tuple(meta["mean"]), tuple(meta["std"])
    return DataSet(source.name, source.defects, splits, mean, std, digest, folder)
