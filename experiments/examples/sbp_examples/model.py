"""A network of three convolutions."""

from torch import nn

from sbp.engine.models import MODELS, Architecture
from sbp.plugins.checks import at_least


@MODELS.register("tiny_net")
class TinyNet(Architecture):
    """Convolutions of `width` channels at half the resolution, and back."""

    stride = 2

    def __init__(self, width: int = 8):
        at_least(1, width=width)
        self.width = width

    def build(self, channels: int, num_defects: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, self.width, 3, stride=2, padding=1),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(self.width, num_defects, 3, padding=1),
        )
