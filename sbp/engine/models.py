"""Model architectures: what the config says, and the network made from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from sbp.engine.pretrained import INSTALLED, PACKAGES, load_installed, quick_when_offline
from sbp.plugins.checks import one_of, require
from sbp.plugins.registry import Registry

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = (
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
)


class Architecture(ABC):
    """Makes a network when the data set is known.

    stride: what an image's height and width must be multiples of. task: see sbp.metrics.tasks; for
    classification, logits are (B, K, 1, 1).
    """

    name: str
    task = "segmentation"
    stride = 1

    @abstractmethod
    def build(self, channels: int, num_defects: int) -> nn.Module:
        """A network from images (B, channels, H, W) to logits (B, num_defects, H, W). Raises ValueError."""


MODELS: Registry[Architecture] = Registry("model")


@MODELS.register("smp")
class Smp(Architecture):
    """A segmentation_models_pytorch model.

    architecture: see ARCHITECTURES. encoder: its name there; encoder_depth: 3, 4 or 5 halvings of the
    resolution; encoder_weights: `installed`, those of a package (see sbp.engine.pretrained), or the name of
    ones to download, as `imagenet`; None for random. decoder_channels: of each stage, None for the
    architecture's own. extra: further arguments of the architecture's constructor.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        encoder_depth: int = 5,
        encoder_weights: str | None = None,
        decoder_channels: list[int] | None = None,
        extra: dict[str, Any] = {},  # noqa: B006 - never changed; the config key is a mapping, not null
    ):
        one_of("architecture", architecture, ARCHITECTURES)
        require(3 <= encoder_depth <= 5, "encoder_depth", encoder_depth, "3, 4 or 5")
        for width in decoder_channels or ():
            require(1 <= width <= 8192, "decoder_channels", width, "between 1 and 8192")
        if decoder_channels is not None and architecture.startswith("unet"):
            require(
                len(decoder_channels) == encoder_depth,
                "decoder_channels",
                decoder_channels,
                f"one number for each of the model.encoder_depth={encoder_depth} stages",
            )
        there = encoder_weights != INSTALLED or encoder in PACKAGES
        require(there, "encoder", encoder, f"{', '.join(PACKAGES)} for model.encoder_weights={INSTALLED}")
        self.architecture, self.encoder, self.encoder_depth = architecture, encoder, encoder_depth
        self.encoder_weights, self.decoder_channels, self.extra = encoder_weights, decoder_channels, extra
        self.stride = 2**encoder_depth

    def build(self, channels: int, num_defects: int) -> nn.Module:
        import segmentation_models_pytorch as smp

        installed = self.encoder_weights == INSTALLED
        arguments = dict(self.extra)
        if self.decoder_channels is not None:
            arguments["decoder_channels"] = tuple(self.decoder_channels)
        try:
            with quick_when_offline():
                model = smp.create_model(
                    self.architecture,
                    encoder_name=self.encoder,
                    encoder_weights=None if installed else self.encoder_weights,
                    encoder_depth=self.encoder_depth,
                    in_channels=channels,
                    classes=num_defects,
                    **arguments,
                )
        except (KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
            raise ValueError(self._refusal(error)) from None
        if installed:
            load_installed(model.get_submodule("encoder"), self.encoder)
        init_output_bias(model)
        return model

    def _refusal(self, error: Exception) -> str:
        reason = " ".join(str(error).split())[:300]
        if isinstance(error, OSError) and self.encoder_weights:
            reason = (
                f"they are not in the cache and cannot be fetched ({reason}); model=unet_pretrained needs "
            )
            reason += "no connection"
        return (
            f"architecture={self.architecture} model.encoder={self.encoder} "
            f"model.encoder_weights={self.encoder_weights}: {reason}"
        )


def init_output_bias(model: nn.Module, share: float = 0.01) -> None:
    """Start from the belief that a pixel is defective with probability `share` (Lin et al., arXiv:1708.02002,
    section 3.3): from scratch, the first steps are otherwise spent on learning that most pixels are not."""
    from torch import nn

    head = model.get_submodule("segmentation_head")
    heads = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    if heads and heads[-1].bias is not None:
        nn.init.constant_(heads[-1].bias, math.log(share / (1 - share)))
