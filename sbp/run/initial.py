"""The network that a run begins with: a new one, or a trained one that learns something more (init_from)."""

import logging
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from sbp.build import trainer as build
from sbp.config import Config
from sbp.errors import UserError
from sbp.run.checkpoint import Checkpoint, load_checkpoint

log = logging.getLogger("sbp")


def initial_model(config: Config, init_from: Path | None = None) -> nn.Module:
    """The model of the config, with the weights of a checkpoint if there is one: init_from, config.init_from.

    What the last layer has for a defect goes by the defect's name: known ones keep theirs, new ones begin
    anew, those that the run does not have are dropped. Raises UserError for a checkpoint that cannot be read,
    or is of another network.
    """
    path = init_from or config.init_from
    checkpoint = None if path is None else load_checkpoint(path)
    model = build.build_model(config, len(config.data.defects))
    if checkpoint is not None:
        load_initial(model, config, checkpoint, str(path))
    return model


def load_initial(model: nn.Module, config: Config, checkpoint: Checkpoint, path: str) -> None:
    """Give the model the weights of the checkpoint at `path`, see `initial_model`."""
    defects = list(config.data.defects)
    fresh, known = model.state_dict(), checkpoint.weights
    if fresh.keys() != known.keys():
        raise UserError(f"init_from={path}: is of another network; choose the model that it was trained with")
    pairs = [
        (k, checkpoint.defects.index(name)) for k, name in enumerate(defects) if name in checkpoint.defects
    ]
    axes = _defect_axes(config)
    merged: dict[str, Tensor] = {}
    for key, value in fresh.items():
        old, axis = known[key], axes.get(key)
        if _without(axis, value) != _without(axis, old):
            raise UserError(
                f"init_from={path}: is of another network ({key} is {tuple(old.shape)}, must be "
                f"{tuple(value.shape)}); choose the model and data.channels that it was trained with"
            )
        merged[key] = old if axis is None else value.clone()
        if axis is not None:
            for new_row, old_row in pairs:
                merged[key].select(axis, new_row).copy_(old.select(axis, old_row))
    model.load_state_dict(merged)
    new = [name for name in defects if name not in checkpoint.defects]
    gone = [name for name in checkpoint.defects if name not in defects]
    about = [f"knows {', '.join(name for name in defects if name in checkpoint.defects) or 'no defect'}"]
    about += [f"new: {', '.join(new)}"] if new else []
    about += [f"left behind: {', '.join(gone)}"] if gone else []
    log.info("starts from %s: %s", path, "; ".join(about))


def _without(axis: int | None, tensor: Tensor) -> tuple[int, ...]:
    """The shape, but for that axis."""
    return tuple(size for k, size in enumerate(tensor.shape) if k != axis)


def _defect_axes(config: Config) -> dict[str, int]:
    """Of each weight whose shape depends on the number of defects, the axis that does: found by building two
    networks of shapes alone."""
    config = deepcopy(config)
    if hasattr(config.model, "encoder_weights"):
        config.model.encoder_weights = None
    with torch.device("meta"):
        one, other = (build.build_model(config, count).state_dict() for count in (5, 7))
    axes = {}
    for key, value in one.items():
        differing = [k for k, (a, b) in enumerate(zip(value.shape, other[key].shape, strict=True)) if a != b]
        if differing:
            axes[key] = differing[0]
    return axes
