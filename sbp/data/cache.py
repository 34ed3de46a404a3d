"""Decoding a data set into files, image by image: continued after a kill, never half visible."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sbp.data.source import SPLITS, Sample, Source
from sbp.errors import UserError

FLUSH_EVERY = 256
"""Images after which the state on disk is brought up to date."""


def build_cache(
    source: Source, folder: Path, description: dict, progress: Callable[[int, int], None] | None
) -> None:
    """Write the samples of `source` to a partial folder beside `folder`, and rename it when complete.

    A partial folder of an earlier attempt at the same content is continued. The caller sees to it that
    nobody else builds the same. Raises UserError for a bad file, unless source.skip_bad, and where the disk
    has no room.
    """
    partial = folder.with_name(f".{folder.name}.part")
    partial.mkdir(exist_ok=True)
    state = _read_state(partial)
    lengths = source.lengths()
    total = sum(lengths.values())
    for split in SPLITS:
        writer = _SplitWriter(partial, split, lengths[split], state["splits"][split], total)
        while writer.done < lengths[split]:
            try:
                writer.put(source.sample(split, writer.done))
            except UserError as error:
                if not getattr(source, "skip_bad", False):
                    raise
                state["skipped"].append(str(error))
            writer.done += 1
            if writer.done % FLUSH_EVERY == 0:
                writer.flush()
                _write_json(partial / "state.json", state)
            if progress:
                progress(sum(state["splits"][s]["done"] for s in SPLITS), total)
        writer.close()
        _write_json(partial / "state.json", state)
        if not writer.about["names"]:
            raise UserError(f"split {split}: not one of its {lengths[split]} images can be read")
    written = len(state["splits"]["train"]["names"])
    images = np.load(partial / "train_images.npy", mmap_mode="r")[:written]
    mean, std = _channel_statistics(images)
    about = {s: {key: state["splits"][s][key] for key in ("names", "kinds")} for s in SPLITS}
    meta = {
        "description": description,
        "splits": about,
        "skipped": state["skipped"],
        "mean": mean,
        "std": std,
    }
    _write_json(partial / "meta.json", meta)
    (partial / "state.json").unlink()
    os.replace(partial, folder)


def _read_state(partial: Path) -> dict:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((partial / "state.json").read_text())
    return {"splits": {s: {"done": 0, "names": [], "kinds": []} for s in SPLITS}, "skipped": []}


def _write_json(path: Path, content: dict) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    os.replace(temporary, path)


class _SplitWriter:
    """Writes samples one by one into .npy files, so that memory does not grow with the data set.

    about: the split's part of the state: how many samples are done, names and kinds of those written.
    """

    def __init__(self, folder: Path, split: str, length: int, about: dict, total: int):
        self.folder, self.split, self.length, self.about, self.total = folder, split, length, about, total
        self.files: dict[str, np.memmap] = {}

    @property
    def done(self) -> int:
        """Samples that were tried, bad ones included."""
        return self.about["done"]

    @done.setter
    def done(self, value: int) -> None:
        self.about["done"] = value

    def put(self, sample: Sample) -> None:
        """Append a sample. Raises UserError if there is no room for all of them."""
        row = len(self.about["names"])
        known = {
            "images": sample.image,
            "masks": sample.masks,
            "labels": np.asarray(sample.masks.any(axis=(0, 1))),
        }
        if sample.clean_masks is not None:
            known["clean_masks"] = sample.clean_masks
        if row == 0 and not self.files:
            self._expect_room(sum(array.nbytes for array in known.values()))
        for key, array in known.items():
            self._file(key, array)[row] = array
        self.about["names"].append(sample.name)
        self.about["kinds"].append(sample.kind)

    def _file(self, key: str, array: np.ndarray) -> np.memmap:
        if key not in self.files:
            path, begun = self.folder / f"{self.split}_{key}.npy", len(self.about["names"]) > 0
            shape = (self.length, *array.shape)
            self.files[key] = (
                np.load(path, mmap_mode="r+")
                if begun
                else np.lib.format.open_memmap(path, "w+", array.dtype, shape)
            )
        return self.files[key]

    def _expect_room(self, sample_bytes: int) -> None:
        needed, free = sample_bytes * self.length, shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"{self.folder.parent}: the images need {needed / 1e9:.1f} GB there, {free / 1e9:.1f} GB are "
                "free; choose another place with SBP_OUTPUT, or smaller images with data.image_size"
            )

    def flush(self) -> None:
        """Bring the files up to date, before the state says so."""
        for file in self.files.values():
            file.flush()

    def close(self) -> None:
        """Flush, and let go of the files."""
        self.flush()
        self.files.clear()


def _channel_statistics(images: np.ndarray, sample: int = 2000) -> tuple[list[float], list[float]]:
    step = max(1, len(images) // sample)
    pixels = images[::step].reshape(-1, images.shape[-1]) / 255.0
    return pixels.mean(axis=0).tolist(), np.maximum(pixels.std(axis=0), 1e-3).tolist()
