"""A data set as uint8 arrays: decoded once and mapped from a cache on disk, or streamed from its files."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sbp.data.cache import build_cache, missing_disk_space
from sbp.data.mapped_file import MappedFile
from sbp.data.rows import ChosenRows, VoidedRows
from sbp.data.source import Source
from sbp.data.streaming import SampleReader, StreamedArray
from sbp.utils.files import file_lock

FORMAT_VERSION = 3

log = logging.getLogger("sbp")


Images = np.ndarray | StreamedArray | ChosenRows | VoidedRows
"""Arrays (N, H, W, K) uint8, or what is indexed as they are."""


@dataclass(frozen=True)
class Split:
    """One split: images (N, H, W, C) uint8, masks and clean_masks (N, H, W, D) uint8 in {0, 1}.

    The arrays are memory-mapped and read-only, or read from the files when indexed. labels: (N, D) bool,
    whether an image's annotation holds the defect. kinds: what an image holds beside defects, see
    Sample.kind.
    """

    images: Images
    masks: Images
    clean_masks: Images | None
    labels: np.ndarray
    names: list[str]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: arrays that are mapped from a file go by its path, not by their bytes."""
        return {key: MappedFile.of(value) or value for key, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            self.__dict__[key] = value.open() if isinstance(value, MappedFile) else value

    def rows(self, numbers: np.ndarray) -> "Split":
        """The images `numbers` (n,), in that order; nothing is copied but labels and names."""
        clean = self.clean_masks
        return Split(
            ChosenRows(self.images, numbers),
            ChosenRows(self.masks, numbers),
            None if clean is None else ChosenRows(clean, numbers),
            self.labels[numbers],
            [self.names[n] for n in numbers],
            [self.kinds[n] for n in numbers],
        )

    def without_channels(self, void: np.ndarray) -> "Split":
        """The same images, of which nothing is known in the channels that `void` (N, D) says."""
        return replace(self, masks=VoidedRows(self.masks, void), labels=self.labels & ~void)

    @property
    def is_streamed(self) -> bool:
        """Whether images are read from their files whenever they are asked for."""
        images: Images = self.images
        while isinstance(images, ChosenRows | VoidedRows):
            images = images.array
        return isinstance(images, StreamedArray)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[1], self.images.shape[2]


@dataclass(frozen=True)
class DataSet:
    """All splits of a data set. mean, std: of the training images' grey values, in [0, 1], per channel.
    whole: the number of training images where `train` is a part of them, else None."""

    name: str
    defects: tuple[str, ...]
    splits: dict[str, Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    path: Path
    whole: int | None = None

    @property
    def train(self) -> Split:
        """The training split."""
        return self.splits["train"]

    @property
    def epoch_images(self) -> int:
        """How many images a baseline epoch trains on: those of the whole training split."""
        return len(self.train) if self.whole is None else self.whole

    def with_train(self, train: Split, name: str, whole: int | None = None) -> "DataSet":
        """The data set with other training images, those of `train`, called `name`; what it is normalised by
        stays that of all of them. whole: see there."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)  # for what is derived from the training images
        splits = {**self.splits, "train": train}
        digest = hashlib.sha256(f"{self.digest} {name}".encode()).hexdigest()[:16]
        return replace(self, splits=splits, path=folder, digest=digest, whole=whole)


def open_data(
    source: Source,
    cache_root: str | Path,
    progress: Callable[[int, int], None] | None = None,
    cache: str = "disk",
    code: str | None = None,
) -> DataSet:
    """The data set of `source`, from the cache below `cache_root`, which is filled first if need be.

    cache: `disk`, or `stream`: keep only an index there and read the files again and again; `auto` streams
    where the disk has too little space. All give the same numbers. The cache is keyed by what the source says
    of its content, so that changed files make another one, and by `code`, a digest of the source's own code
    where that is a plugin's. Processes that want the same one wait for the first of them; a build that was
    killed is continued. progress(done, total) is called while images are decoded.
    Raises UserError for a bad file (unless the source skips those) and where the disk has too little space.
    """
    description = {"format": FORMAT_VERSION, "source": source.name, **source.describe()}
    if code is not None:
        description["code"] = code
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(cache_root) / f"{source.name}-{digest}"
    pixels = cache != "stream"
    if cache == "auto" and not (folder / "meta.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if message := missing_disk_space(source, folder):
            log.warning("%s; reading them from their files in every epoch (data.cache=stream)", message)
            pixels = False
    if not pixels:
        folder = folder.with_name(f"{folder.name}-index")
    if not (folder / "meta.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock")
        with file_lock(lock, waiting="another run is preparing the images; waiting for it"):
            if not (folder / "meta.json").is_file():
                build_cache(source, folder, description, progress, pixels)
    return _open(source, folder, digest, pixels)


def _open(source: Source, folder: Path, digest: str, pixels: bool) -> DataSet:
    meta = json.loads((folder / "meta.json").read_text())

    def load(split: str, key: str) -> np.ndarray:
        # images that were skipped leave rows behind that were never written
        written = len(meta["splits"][split]["names"])
        return MappedFile(str(folder / f"{split}_{key}.npy"), written).open()

    splits = {}
    for split, about in meta["splits"].items():
        arrays: dict[str, Any] = {"clean_masks": None}
        if pixels:
            for key in ("images", "masks", "clean_masks"):
                if (folder / f"{split}_{key}.npy").is_file():
                    arrays[key] = load(split, key)
        else:
            reader = SampleReader(source, split, about["rows"])
            examples = reader(0).arrays()
            arrays |= {key: StreamedArray(reader, key, part.shape) for key, part in examples.items()}
        labels = np.array(load(split, "labels"))
        splits[split] = Split(**arrays, labels=labels, names=about["names"], kinds=about["kinds"])
    for line in meta["skipped"]:
        log.warning("skipped: %s", line)
    for note, images in meta.get("notes", {}).items():
        log.warning("%d %s", images, note)
    mean, std = tuple(meta["mean"]), tuple(meta["std"])
    return DataSet(source.name, source.defects, splits, mean, std, digest, folder)
