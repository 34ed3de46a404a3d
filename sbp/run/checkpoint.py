"""Trained models on disk: written atomically, loaded without pickled code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sbp.errors import UserError
from sbp.utils.files import write_atomically

FORMAT = "sbp-model-1"


@dataclass(frozen=True)
class Checkpoint:
    """What prediction needs: weights, the run's config as plain values, defects and normalisation."""

    weights: dict[str, torch.Tensor]
    config: dict[str, Any]
    defects: list[str]
    mean: list[float]
    std: list[float]
    epoch: int
    metrics: dict[str, float]


def save_checkpoint(path: Path, model: nn.Module, **about: Any) -> None:
    """Write the model's weights and `about` (the other fields of Checkpoint) to `path`.

    The checkpoint that was there stays whole if this fails. Raises UserError where the disk is full.
    """
    payload = {"format": FORMAT, "weights": model.state_dict(), **about}
    write_atomically(path, lambda file: torch.save(payload, file))


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint; raises UserError if the file is missing, broken, or not one of ours."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint; a run leaves best.pt and last.pt in its folder")
    try:
        payload = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(payload, dict) or payload.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project (expected format {FORMAT})")
    return Checkpoint(**payload)
