"""A data set as memory-mapped uint8 arrays, decoded once and cached on disk."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbp.data.source import SPLITS, Source

FORMAT_VERSION = 1


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

    The cache is keyed by what the source says of its content. It is written to a temporary folder and
    renamed when complete, so that a killed run leaves no half of one, and parallel runs do not disturb
    each other. progress(done, total) is called while images are decoded.
    """
    description = {"format": FORMAT_VERSION, "source": source.name, **source.describe()}
    text = json.dumps(description, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = Path(cache_root) / f"{source.name}-{digest}"
    if not (folder / "meta.json").is_file():
        _build(source, folder, description, progress)
    return _open(source, folder, digest)


def _build(source: Source, folder: Path, description: dict, progress) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        lengths = source.lengths()
        done, total = 0, sum(lengths.values())
        meta: dict = {"description": description, "splits": {}}
        for split in SPLITS:
            writer = _SplitWriter(temporary, split, lengths[split])
            for index in range(lengths[split]):
                writer.put(index, source.sample(split, index))
                done += 1
                if progress:
                    progress(done, total)
            meta["splits"][split] = writer.close()
        images = np.load(temporary / "train_images.npy", mmap_mode="r")
        meta["mean"], meta["std"] = _channel_statistics(images)
        (temporary / "meta.json").write_text(json.dumps(meta))
        try:
            os.replace(temporary, folder)
        except OSError:  # another process finished the same cache first: theirs is as good
            if not (folder / "meta.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _SplitWriter:
    """Writes samples one by one into .npy files, so that memory does not grow with the data set."""

    def __init__(self, folder: Path, split: str, length: int):
        self.folder, self.split, self.length = folder, split, length
        self.files: dict[str, np.memmap] = {}
        self.names, self.kinds = [""] * length, [""] * length

    def put(self, index: int, sample) -> None:
        arrays = {"images": sample.image, "masks": sample.masks, "clean_masks": sample.clean_masks}
        for key, array in arrays.items():
            if array is None:
                continue
            if key not in self.files:
                path = self.folder / f"{self.split}_{key}.npy"
                shape = (self.length, *array.shape)
                self.files[key] = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            self.files[key][index] = array
        self.names[index], self.kinds[index] = sample.name, sample.kind

    def close(self) -> dict:
        masks = self.files["masks"]
        labels = np.stack([mask.any(axis=(0, 1)) for mask in masks])
        np.save(self.folder / f"{self.split}_labels.npy", labels)
        for file in self.files.values():
            file.flush()
        return {"names": self.names, "kinds": self.kinds}


def _channel_statistics(images: np.ndarray, sample: int = 2000) -> tuple[list[float], list[float]]:
    step = max(1, len(images) // sample)
    pixels = images[::step].reshape(-1, images.shape[-1]) / 255.0
    return pixels.mean(axis=0).tolist(), np.maximum(pixels.std(axis=0), 1e-3).tolist()


def _open(source: Source, folder: Path, digest: str) -> DataSet:
    meta = json.loads((folder / "meta.json").read_text())

    def load(split: str, key: str) -> np.ndarray:
        return np.load(folder / f"{split}_{key}.npy", mmap_mode="r", allow_pickle=False)

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
    mean, std = tuple(meta["mean"]), tuple(meta["std"])
    return DataSet(source.name, source.defects, splits, mean, std, digest, folder)
