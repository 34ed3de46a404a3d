"""Using a trained model: masks and overlays for a folder of images, metrics of a split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.build.tiles import images_at_once, tiled, whole_images
from sbp.config import Config, register_schemas, validated
from sbp.config.schemas import OPEN_GROUPS, schema
from sbp.data.dataset import Split
from sbp.data.disk.decode import SUFFIXES, read_image
from sbp.data.disk.resize import Resizer
from sbp.data.loader import plain_batches
from sbp.engine.device import Compute, evaluating
from sbp.errors import UserError
from sbp.run.checkpoint import Checkpoint, load_checkpoint


def config_of(checkpoint: Checkpoint) -> Config:
    """The typed config that a checkpoint was trained with."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    register_schemas()
    root = OmegaConf.create(ConfigStore.instance().load("root_schema.yaml").node)
    for group in OPEN_GROUPS:
        root[group] = OmegaConf.structured(schema(group, checkpoint.config[group]["name"]))
    return validated(OmegaConf.merge(root, OmegaConf.create(checkpoint.config)))  # type: ignore[arg-type]


def restore(path: str | Path, device: str = "cpu") -> tuple[nn.Module, Compute, Checkpoint, Config]:
    """Model of whole images in eval mode, its input pipeline, the checkpoint and its config."""
    checkpoint = load_checkpoint(path, device)
    config = config_of(checkpoint)
    if hasattr(config.model, "encoder_weights"):
        config.model.encoder_weights = None  # they come with the checkpoint
    model = build.build_model(config, len(checkpoint.defects))
    model.load_state_dict(checkpoint.weights)
    compute = Compute(device, config.trainer.channels_last, checkpoint.mean, checkpoint.std)
    return whole_images(config, compute.place(model), compute).eval(), compute, checkpoint, config


def predict_folder(
    checkpoint: str | Path, folder: str | Path, out: str | Path, threshold: float = 0.5, device: str = "cpu"
) -> Iterator[tuple[Path, dict[str, float]]]:
    """Write masks and overlays of every image in `folder` to `out`.

    Per image and defect: `masks/<defect>/<stem>.png`, 255 where the probability exceeds `threshold`, in the
    image's own size; `overlays/<stem>.png` with all defects drawn in. Yields each image's path and, per
    defect, the largest probability in it.
    """
    from sbp.plots.pictures import overlay

    model, compute, about, config = restore(checkpoint, device)
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"{folder}: no images in it ({', '.join(SUFFIXES)})")
    for name in [*(f"masks/{defect}" for defect in about.defects), "overlays"]:
        (out / name).mkdir(parents=True, exist_ok=True)
    white_level = getattr(config.data, "white_level", None)
    for path in paths:
        image = read_image(path, config.data.channels, white_level)
        resizer = _resizer(config, image.shape)
        with evaluating(model):
            logits = model(compute.inputs(torch.from_numpy(resizer.image(image))[None]))
        probability = logits.sigmoid()[0].permute(1, 2, 0).float().cpu().numpy()
        full = resizer.restored(probability, image.shape[:2])
        masks = full > threshold
        for d, defect in enumerate(about.defects):
            _write(out / "masks" / defect / f"{path.stem}.png", masks[:, :, d].astype(np.uint8) * 255)
        drawn = overlay(image, masks)
        _write(out / "overlays" / f"{path.stem}.png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        yield path, {defect: float(full[:, :, d].max()) for d, defect in enumerate(about.defects)}


def _resizer(config: Config, shape: Sequence[int]) -> Resizer:
    """How an image of `shape` was brought to the model's size in training; with tiles it keeps its own."""
    if tiled(config):
        return Resizer(shape[0], shape[1], "tile")
    size = config.data.image_size
    return Resizer(size, size, getattr(config.data, "fit", "resize"))


def _write(path: Path, image: np.ndarray) -> None:
    cv2.imencode(".png", image)[1].tofile(path)


def _cached_split(config: Config, split: str) -> Split:
    data = open_cached(config)
    if split not in data.splits:
        raise UserError(f"--split {split}: must be one of {', '.join(data.splits)}")
    return data.splits[split]


def evaluate_split(checkpoint: str | Path, split: str = "test", device: str = "cpu") -> dict[str, float]:
    """Metrics of a split of the data set that the checkpoint was trained on."""
    model, compute, about, config = restore(checkpoint, device)
    images = _cached_split(config, split)
    evaluator = build.build_evaluator(config, about.defects, compute, images.image_shape)
    return evaluator.evaluate(model, images, split)


def predict_split(
    checkpoint: str | Path, split: str = "test", device: str = "cpu"
) -> tuple[Split, np.ndarray]:
    """A split of the checkpoint's data set and its probabilities (N, D, H, W) float32."""
    model, compute, _, config = restore(checkpoint, device)
    images = _cached_split(config, split)
    parts = []
    with evaluating(model):
        at_once = images_at_once(config, config.evaluation.batch_size, images.image_shape)
        for batch in plain_batches(images, np.arange(len(images)), at_once):
            parts.append(model(compute.inputs(batch.images)).float().sigmoid().cpu())
    return images, torch.cat(parts).numpy()
