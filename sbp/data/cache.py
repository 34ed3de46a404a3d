"""Decoding a data set into files, image by image: continued after a kill, never half visible.

The files hold everything, or (an index) only what a run needs to know of all images before it reads them.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sbp.data.source import SPLITS, Sample, Source
from sbp.errors import UserError
from sbp.utils.files import write_atomically

FLUSH_EVERY = 256
"""Images after which the state on disk is brought up to date."""


def missing_disk_space(source: Source, folder: Path) -> str:
    """A message if the disk of `folder` has too little space for all samples, else empty. Decodes one."""
    sample = _first_sample(source)
    needed = sum(array.nbytes for array in sample.arrays().values()) * sum(source.lengths().values())
    begun = sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in _partial(folder).glob("*.npy"))
    free = shutil.disk_usage(folder.parent).free + begun
    if needed <= free:
        return ""
    return f"the images need {needed / 1e9:.1f} GB in {folder.parent}, {free / 1e9:.1f} GB are free"


def _first_sample(source: Source) -> Sample:
    passed_over = (UserError,) if getattr(source, "skip_bad", False) else ()
    for split, length in source.lengths().items():
        for index in range(length):
            with contextlib.suppress(*passed_over):
                return source.sample(split, index)
    raise UserError(f"{source.name}: not one of its images can be read")


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def build_cache(
    source: Source,
    folder: Path,
    description: dict,
    progress: Callable[[int, int], None] | None,
    pixels: bool = True,
) -> None:
    """Write the samples of `source` to a partial folder beside `folder`, and rename it when complete.

    A partial folder of an earlier attempt at the same content is continued. The caller sees to it that
    nobody else builds the same. pixels: False writes an index only: names, labels, statistics. Raises
    UserError for a bad file, unless source.skip_bad, and where the disk has too little space.
    """
    partial = _partial(folder)
    partial.mkdir(exist_ok=True)
    if pixels and (message := missing_disk_space(source, folder)):
        raise UserError(
            f"{message}; choose another place with SBP_OUTPUT, smaller images with data.image_size, or "
            "data.cache=stream"
        )
    state = _read_state(partial)
    lengths = source.lengths()
    for split in SPLITS:
        about = state["splits"][split]
        writer = _SplitWriter(partial, split, lengths[split], about, pixels)
        while about["done"] < lengths[split]:
            try:
                sample = source.sample(split, about["done"])
                writer.put(sample)
                if sample.note:
                    state["notes"][sample.note] = state["notes"].get(sample.note, 0) + 1
            except UserError as error:
                if not getattr(source, "skip_bad", False):
                    raise
                state["skipped"].append(str(error))
            about["done"] += 1
            if about["done"] % FLUSH_EVERY == 0:
                writer.flush()
                write_atomically(partial / "state.json", json.dumps(state))
            if progress:
                progress(sum(state["splits"][s]["done"] for s in SPLITS), sum(lengths.values()))
        writer.close()
        write_atomically(partial / "state.json", json.dumps(state))
        if not about["names"]:
            raise UserError(f"split {split}: not one of its {lengths[split]} images can be read")
    mean, std = _channel_statistics(state["splits"]["train"])
    splits = {s: {k: state["splits"][s][k] for k in ("names", "kinds", "rows")} for s in SPLITS}
    meta = {"description": description, "splits": splits, "skipped": state["skipped"]}
    meta["notes"] = state["notes"]
    write_atomically(partial / "meta.json", json.dumps(meta | {"mean": mean, "std": std}))
    (partial / "state.json").unlink()
    os.replace(partial, folder)


def _read_state(partial: Path) -> dict:
    with contextlib.suppress(OSError, ValueError):
        return {"notes": {}} | json.loads((partial / "state.json").read_text())
    empty = {s: {"done": 0, "names": [], "kinds": [], "rows": [], "sums": [], "pixels": 0} for s in SPLITS}
    return {"splits": empty, "skipped": [], "notes": {}}


class _SplitWriter:
    """Writes samples one by one into .npy files, so that memory does not grow with the data set.

    about: the split's part of the state: how many samples are done, bad ones included; names, kinds and
    numbers in the source of those written; sums of their values and of the squares, per channel, over
    `pixels` pixels.
    """

    def __init__(self, folder: Path, split: str, length: int, about: dict, pixels: bool):
        self.folder, self.split, self.length, self.about, self.pixels = folder, split, length, about, pixels
        self.files: dict[str, np.memmap] = {}

    def put(self, sample: Sample) -> None:
        """Append a sample."""
        row = len(self.about["names"])
        known = sample.arrays() if self.pixels else {}
        for key, array in (known | {"labels": sample.labels}).items():
            self._file(key, array)[row] = array
        self.about["names"].append(sample.name)
        self.about["kinds"].append(sample.kind)
        self.about["rows"].append(self.about["done"])
        values = sample.image.reshape(-1, sample.image.shape[-1]).astype(np.int64)
        before = np.array(self.about["sums"] or 0, dtype=np.int64)
        self.about["sums"] = (before + np.stack([values.sum(axis=0), (values**2).sum(axis=0)])).tolist()
        self.about["pixels"] += len(values)

    def _file(self, key: str, array: np.ndarray) -> np.memmap:
        if key not in self.files:
            path, shape = self.folder / f"{self.split}_{key}.npy", (self.length, *array.shape)
            if self.about["names"]:  # begun earlier
                self.files[key] = np.load(path, mmap_mode="r+")
            else:
                self.files[key] = np.lib.format.open_memmap(path, "w+", array.dtype, shape)
        return self.files[key]

    def flush(self) -> None:
        for file in self.files.values():
            file.flush()

    def close(self) -> None:
        """Flush, and let go of the files: a folder cannot be renamed everywhere while one is open."""
        self.flush()
        self.files.clear()


def _channel_statistics(about: dict) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of grey values in [0, 1], from exact sums."""
    total, squares = (np.array(values, dtype=np.float64) for values in about["sums"])
    mean = total / about["pixels"] / 255.0
    variance = squares / about["pixels"] / 255.0**2 - mean**2
    return mean.tolist(), np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1e-3).tolist()
