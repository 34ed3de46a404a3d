"""A trained model from its checkpoint, and what it makes of a split of its data set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import nn

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.build.tiles import images_at_once, whole_images
from sbp.config import Config, from_values
from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.engine.device import Compute, evaluating
from sbp.errors import UserError
from sbp.run.checkpoint import Checkpoint, load_checkpoint


def restore(path: str | Path, device: str = "cpu") -> tuple[nn.Module, Compute, Checkpoint, Config]:
    """Model of whole images in eval mode, its input pipeline, the checkpoint and its config."""
    checkpoint = load_checkpoint(path, device)
    config = from_values(checkpoint.config)
    check_task(config, path)
    if hasattr(config.model, "encoder_weights"):
        config.model.encoder_weights = None  # they come with the checkpoint
    model = build.build_model(config, len(checkpoint.defects))
    model.load_state_dict(checkpoint.weights)
    compute = Compute(device, config.trainer.channels_last, checkpoint.mean, checkpoint.std)
    return whole_images(config, compute.place(model), compute).eval(), compute, checkpoint, config


def check_task(config: Config, what: str | Path) -> None:
    """Raise UserError for a config whose model makes no masks."""
    if config.task != "segmentation":
        raise UserError(f"{what}: is a model for {config.task}; this command is for segmentation")


def cached_split(config: Config, split: str) -> Split:
    """A split of the data set of `config`. Raises UserError where there is none of that name."""
    data = open_cached(config)
    if split not in data.splits:
        raise UserError(f"--split {split}: must be one of {', '.join(data.splits)}")
    return data.splits[split]


def predict_split(
    checkpoint: str | Path, split: str = "test", device: str = "cpu"
) -> tuple[Split, np.ndarray]:
    """A split of the checkpoint's data set and its probabilities (N, D, H, W) float32."""
    model, compute, _, config = restore(checkpoint, device)
    images = cached_split(config, split)
    parts = predict_images(model, compute, config, images, np.arange(len(images)))
    return images, np.concatenate([probabilities for _, probabilities in parts])


def predict_images(
    model: nn.Module, compute: Compute, config: Config, images: Split, indices: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of the images `indices` (n,), batch by batch: numbers (B,) and probabilities (B, D, H, W) float32.
    model, compute: as `restore` gives them."""
    at_once = images_at_once(config, config.evaluation.batch_size, images.image_shape)
    for batch in plain_batches(images, indices, at_once):
        with evaluating(model):
            logits = model(compute.inputs(batch.images))
        yield batch.indices, logits.float().sigmoid().cpu().numpy()
