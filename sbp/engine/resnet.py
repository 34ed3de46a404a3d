"""Networks that give an image one logit per class, in the shape (B, K, 1, 1) of a map of one pixel."""

from torch import Tensor, nn

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al., arXiv:1512.03385)."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, width, H / stride, W / stride)."""
        return (self.body(x) + self.shortcut(x)).relu()


class SmallResNet(nn.Module):
    """The residual network for CIFAR with one block in each of its three stages: eight layers."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        first, *_ = WIDTHS
        stem = (nn.Conv2d(channels, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True))
        pairs = zip((first, *WIDTHS), WIDTHS, (1, 2, 2), strict=False)
        self.encoder = nn.Sequential(*stem, *(BasicBlock(*sizes) for sizes in pairs))
        self.head = nn.Conv2d(WIDTHS[-1], classes, 1)
        for module in self.encoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K, 1, 1)."""
        return self.head(self.encoder(images).mean(dim=(2, 3), keepdim=True))


class OnePixel(nn.Module):
    """A classifier whose logits (B, K) become a map (B, K, 1, 1)."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.encoder = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K, 1, 1)."""
        return self.encoder(images)[:, :, None, None]
