"""Predictions of each training image by a model that was not trained on it: one training for each fold."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np

from sbp.build.data import build_source
from sbp.build.folds import fold_numbers
from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.errors import UserError
from sbp.predict import predict_images, restore
from sbp.steps.earlier import trained


def out_of_fold(
    config: Config, data: DataSet, folds: int, out: Path, device: str = "cpu"
) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each training image and its probabilities (H, W, D) float32, fold by fold.

    config: of the run whose annotations are reviewed; each fold is trained as it says, without the fold's
    images. folds: how many, at least 2. out: where their runs lie; those that are there and whole are not
    trained again, an interrupted one goes on. Raises UserError for too few groups of images.
    """
    config = deepcopy(config)
    config.folds.count, config.evaluation.test = folds, False
    config.tracking.name = "none"
    numbers = fold_numbers(config, build_source(config.data, config.output_root), data)
    _check_defects(config, data, numbers)
    for fold in range(folds):
        config.folds.without, config.run_dir = fold, str(out / f"fold_{fold}")
        run = trained(config, f"without fold {fold + 1} of {folds}")
        model, compute, _, _ = restore(run / "best.pt", device)
        members = np.flatnonzero(numbers == fold)
        for batch, probabilities in predict_images(model, compute, config, data.train, members):
            yield from zip(batch.tolist(), probabilities.transpose(0, 2, 3, 1), strict=True)


def _check_defects(config: Config, data: DataSet, numbers: np.ndarray) -> None:
    """Before anything is trained: a fold that holds all images of a defect leaves none to train on."""
    for fold in range(config.folds.count):
        left = data.train.labels[numbers != fold].any(axis=0)
        for name, there in zip(data.defects, left, strict=True):
            if name in config.defects.focus and not there:
                raise UserError(
                    f"--folds {config.folds.count}: all training images with {name} are in one fold, so that "
                    "a model would be trained without it; review by the run itself, with --folds 0"
                )


def in_sample(
    checkpoint: Path, config: Config, data: DataSet, device: str = "cpu"
) -> Iterator[tuple[int, np.ndarray]]:
    """The same by a model that was trained on them."""
    model, compute, _, _ = restore(checkpoint, device)
    everything = np.arange(len(data.train))
    for batch, probabilities in predict_images(model, compute, config, data.train, everything):
        yield from zip(batch.tolist(), probabilities.transpose(0, 2, 3, 1), strict=True)
