"""Device, precision and memory format: how arrays become model inputs."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sbp.data.source import VOID
from sbp.errors import UserError


class Compute:
    """Where the model runs and how its input is made.

    mean, std: per channel, of grey values in [0, 1]. precision: fp32 or bf16 (autocast; weights and
    losses stay fp32). key: the config's, for messages. Raises UserError if the device is not there.
    """

    def __init__(
        self,
        device: str,
        channels_last: bool,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        key: str = "trainer.device",
    ):
        kind = device.partition(":")[0]
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available[kind]:
            raise UserError(f"{key}={device}: no such device here; cpu works everywhere")
        self.device = torch.device(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.mean = torch.tensor(mean, device=self.device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, -1, 1, 1)

    @classmethod
    def like(cls, other: "Compute", device: str, key: str) -> "Compute":
        """The same on another device."""
        channels_last = other.memory_format == torch.channels_last
        mean, std = other.mean.flatten().tolist(), other.std.flatten().tolist()
        return cls(device, channels_last, mean, std, key)

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model to the device, in the memory format."""
        return model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def inputs(self, images: Tensor) -> Tensor:
        """(B, H, W, C) uint8 to normalised (B, C, H, W) float32 on the device."""
        x = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255.0
        return ((x - self.mean) / self.std).contiguous(memory_format=self.memory_format)

    def targets(self, masks: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, H, W, D) uint8 in {0, 1, VOID} to target (B, D, H, W) float32 in {0, 1} on the device, and
        which of its pixels count, (B, D, H, W) bool, None for all."""
        target = masks.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        if not masks.numel() or masks.amax() <= 1:  # on the CPU still: no wait for the device
            return target.float(), None
        return (target == 1).float(), target != VOID

    def weights(self, weights: np.ndarray) -> Tensor:
        """(B,) what each image counts to (B, 1, 1, 1) float32 on the device."""
        return torch.from_numpy(weights).to(self.device, torch.float32).view(-1, 1, 1, 1)

    def autocast(self, precision: str) -> contextlib.AbstractContextManager:
        """The context that a forward pass runs in."""
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def synchronize(self) -> None:
        """Wait for queued work, so that a clock read after it is honest."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def evaluating(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Eval mode, without gradients unless wanted; each module's mode is restored, frozen parts' too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.enable_grad() if gradients else torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
