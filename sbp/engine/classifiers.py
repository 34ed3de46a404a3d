"""Architectures for classification: what the config says, and the network made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbp.engine.models import MODELS, Architecture

if TYPE_CHECKING:
    from torch import nn


class Classifier(Architecture):
    """An architecture that says of what class an image is."""

    task = "classification"


@MODELS.register("resnet8")
class ResNet8(Classifier):
    """A residual network of eight layers for small images, 75,000 parameters: three stages of 16, 32 and 64
    channels with one block each (He et al., arXiv:1512.03385, section 4.2, with n = 1 and shortcuts of 1 x 1
    convolutions). A forward pass on 32 x 32 pixels takes 12 million multiplications."""

    stride = 4

    def build(self, channels: int, num_defects: int) -> nn.Module:
        from sbp.engine.resnet import SmallResNet

        return SmallResNet(channels, num_defects)


@MODELS.register("timm")
class Timm(Classifier):
    """A classifier of the library timm, from random weights. encoder: its name there, as resnet18."""

    def __init__(self, encoder: str):
        self.encoder = encoder

    def build(self, channels: int, num_defects: int) -> nn.Module:
        import timm

        from sbp.engine.resnet import OnePixel

        try:
            made = timm.create_model(
                self.encoder, pretrained=False, in_chans=channels, num_classes=num_defects
            )
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"encoder={self.encoder}: must be the name of a timm model ({reason})") from None
        return OnePixel(made)
