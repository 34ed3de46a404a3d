"""Masks and overlays for a folder of images."""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
from torch import nn

from sbp.build.tiles import tiled
from sbp.config import Config
from sbp.data.disk.decode import SUFFIXES, read_image
from sbp.data.disk.resize import Resizer
from sbp.engine.device import Compute, evaluating
from sbp.errors import UserError
from sbp.plots.pictures import overlay
from sbp.predict.model import restore
from sbp.predict.names import images_below, output_names
from sbp.predict.record import PICTURES, PredictionRecord, Row
from sbp.run.results_version import RESULTS_VERSION
from sbp.utils.files import FolderHeld, sole_writer, write_atomically

UNREADABLE = (UserError, OSError, cv2.error, MemoryError, torch.OutOfMemoryError)
"""What one image can be to blame for: the others are predicted."""

log = logging.getLogger("sbp")


@dataclass(frozen=True)
class Prediction:
    """What became of one image. highest: per defect, the largest probability in it; empty if it could not be
    read, and `error` says why. before: an earlier call had predicted it."""

    path: Path
    highest: dict[str, float]
    error: str = ""
    before: bool = False


def predict_folder(
    checkpoint: str | Path, folder: str | Path, out: str | Path, threshold: float = 0.5, device: str = "cpu"
) -> Iterator[tuple[Path, dict[str, float]]]:
    """As `predictions`; yields each image's path and, per defect, the largest probability in it. An image
    that cannot be read is left out, with a warning."""
    for found in predictions(checkpoint, folder, out, threshold, device):
        if found.error:
            log.warning("%s", found.error)
        else:
            yield found.path, found.highest


def predictions(
    checkpoint: str | Path,
    folder: str | Path,
    out: str | Path,
    threshold: float = 0.5,
    device: str = "cpu",
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Iterator[Prediction]:
    """Write masks and overlays of every image in `folder` and its subfolders to `out`; yields one by one what
    became of them, and tells `progress` how many are done of how many.

    Per image and defect: `masks/<defect>/<subfolder>/<name>.png`, 255 where the probability exceeds
    `threshold`, in the image's own size; `overlays/<subfolder>/<name>.png` with all defects drawn in. The
    name is the image's stem, or its whole name where stems are not unique (see `output_names`).
    `predictions.csv` holds a row per image. With the same checkpoint and threshold, images that have not
    changed are not predicted again. Raises UserError, before the first image, for a checkpoint or folder that
    cannot be used, and at any time where the disk is full.
    """
    folder, out = Path(folder), Path(out)
    digest = digest_of(Path(checkpoint))
    model, compute, trained, config = restore(checkpoint, device)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    images = images_below(folder, [out, *(out / name for name in PICTURES)])
    if not images:
        raise UserError(f"{folder}: no images in it ({', '.join(SUFFIXES)})")
    about = {"checkpoint": digest, "threshold": threshold, "results_version": RESULTS_VERSION}
    with _sole_user(out):
        record = PredictionRecord(out, trained.defects)
        if changed := record.open({"folder": str(folder.resolve()), **about}):
            log.warning("%s: was made with another %s, all is predicted anew", out, " and ".join(changed))
        gone = record.rows.keys() - set(images)
        names = output_names(images, [record.rows[image].output for image in gone])
        predictor = _Predictor(folder, names, record, model, compute, config, threshold)
        for number, image in enumerate(images, 1):
            found = predictor.predict(image)
            progress(number, len(images))
            yield found
        record.rewrite()


@dataclass
class _Predictor:
    """Predicts image by image, unless the record has it. names: of every image's output."""

    folder: Path
    names: dict[PurePosixPath, PurePosixPath]
    record: PredictionRecord
    model: nn.Module
    compute: Compute
    config: Config
    threshold: float

    def predict(self, image: PurePosixPath) -> Prediction:
        """One image. Raises UserError where the disk is full."""
        path, output, defects = self.folder / image, self.names[image], self.record.defects
        try:
            about = path.stat()
            if self.record.is_done(image, output, about):
                highest = self.record.rows[image].highest
                return Prediction(path, dict(zip(defects, highest, strict=True)), before=True)
            pixels = read_as_trained(path, self.config)
            probabilities = self._probabilities(pixels)
        except UNREADABLE as error:
            row = Row(image, (), reason_of(path, error), output)
        else:
            highest = tuple(float(probabilities[:, :, d].max()) for d in range(len(defects)))
            self._write(pixels, probabilities > self.threshold, output)
            row = Row(image, highest, "", output, about.st_size, about.st_mtime_ns)
        self._remove_former(row)
        self.record.append(row)
        return Prediction(path, dict(zip(defects, row.highest, strict=False)), row.error)

    def _probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, C) uint8 to (H, W, D) float32."""
        resizer = resizer_of(self.config, pixels.shape)
        with evaluating(self.model):
            logits = self.model(self.compute.inputs(torch.from_numpy(resizer.image(pixels))[None]))
        probability = logits.sigmoid()[0].permute(1, 2, 0).float().cpu().numpy()
        return resizer.restored(probability, pixels.shape[:2])

    def _write(self, pixels: np.ndarray, masks: np.ndarray, output: PurePosixPath) -> None:
        drawn = cv2.cvtColor(overlay(pixels, masks), cv2.COLOR_RGB2BGR)
        pictures = [*(mask.astype(np.uint8) * 255 for mask in np.moveaxis(masks, 2, 0)), drawn]
        for path, picture in zip(self.record.pictures(output), pictures, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, cv2.imencode(".png", picture)[1].tobytes(), durable=False)

    def _remove_former(self, row: Row) -> None:
        """Take away pictures of an earlier call that no longer hold: those under a name that the image had
        before, and, if it cannot be read any more, those under its own."""
        before = self.record.rows.get(row.image)
        former = {before.output} - set(self.names.values()) if before else set()
        for output in former | ({row.output} if row.error else set()):
            for path in self.record.pictures(output):
                path.unlink(missing_ok=True)


def read_as_trained(path: Path, config: Config) -> np.ndarray:
    """The image as the model's data set reads its own, (H, W, C) uint8. Raises UserError."""
    white_level = getattr(config.data, "white_level", None)
    shown = getattr(config.data, "exif", None) == "apply"
    return read_image(path, config.data.channels, white_level, shown)


def reason_of(path: Path, error: Exception) -> str:
    """Why an image could not be predicted, in one line."""
    if isinstance(error, UserError):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
    return f"{path}: cannot be read ({reason or type(error).__name__})"


def resizer_of(config: Config, shape: Sequence[int]) -> Resizer:
    """How an image of `shape` was brought to the model's size in training; with tiles it keeps its own."""
    if tiled(config):
        return Resizer(shape[0], shape[1], "tile")
    size = config.data.image_size
    return Resizer(size, size, getattr(config.data, "fit", "resize"))


def digest_of(checkpoint: Path) -> str:
    """Of its content, taken before it is loaded: were it replaced meanwhile, the next call predicts anew."""
    if not checkpoint.is_file():
        return ""
    with open(checkpoint, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _sole_user(out: Path) -> Iterator[None]:
    try:
        with sole_writer(out):
            yield
    except FolderHeld:
        raise UserError(f"{out}: another prediction writes there; choose another folder with --out") from None
