"""From a loss map to one score per defect channel (the blog post, "Aggregation"; its border-effect schemes).

Shapes: loss_map (B, D, H, W), target (B, D, H, W), valid (B, 1, H, W) or None, scores (B, D).
Losses are in nats and at least 0, so 0 is the neutral element of every maximum below.

torch is imported where it is used: the config asks this module for names and keys alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sbp.plugins.checks import at_least, require
from sbp.plugins.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Aggregation(ABC):
    """One score per image and defect from a map of losses; higher means more worth training on.

    moves_image: whether `transform` changes what is scored. Such a scheme needs a forward pass of its own.
    """

    name: str
    moves_image = False

    @abstractmethod
    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Aggregate loss_map (B, D, H, W) over space, giving (B, D). Pixels outside `valid` do not count."""

    def transform(
        self, images: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is scored in place of images (B, C, H, W) and target (B, D, H, W), and which pixels count,
        (B, 1, H, W) bool or None for all; every random choice is drawn from `generator`."""
        return images, target, None

    def check_size(self, height: int, width: int, scale_factor: float = 1.0) -> None:  # noqa: B027
        """Raise ValueError if images of that size, scored at `scale_factor` of it, cannot be aggregated."""


AGGREGATIONS: Registry[Aggregation] = Registry("aggregation")


@AGGREGATIONS.register("max")
class Max(Aggregation):
    """The largest pixel loss (global max pooling)."""

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is not None:
            loss_map = loss_map.masked_fill(~valid.bool(), 0.0)
        return loss_map.amax(dim=(2, 3))


@AGGREGATIONS.register("mean")
class Mean(Aggregation):
    """The mean pixel loss (global average pooling)."""

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is None:
            return loss_map.mean(dim=(2, 3))
        return (loss_map * valid).sum(dim=(2, 3)) / valid.sum(dim=(2, 3)).clamp_min(1)


@AGGREGATIONS.register("topk_mean")
class TopKMean(Aggregation):
    """The mean of the K largest pixel losses: between max (K = 1) and mean (K = all pixels).

    Give `k` in pixels or `fraction` of the image's pixels in (0, 1], and the other as None.
    """

    def __init__(self, k: int | None = None, fraction: float | None = None):
        at_least(1, k=k)
        require(fraction is None or 0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1, or null")
        if (k is None) == (fraction is None):
            raise ValueError(f"k={k}, fraction={fraction}: give exactly one, the other null")
        self.k, self.fraction = k, fraction

    def pixels(self, n: int) -> int:
        """K for an image of `n` pixels."""
        return self.k if self.k is not None else max(1, round((self.fraction or 0) * n))

    def check_size(self, height: int, width: int, scale_factor: float = 1.0) -> None:
        n = int(height * scale_factor * width * scale_factor)
        require(self.k is None or self.k <= n, "k", self.k, f"at most the image's {n} pixels")

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is not None:
            loss_map = loss_map * valid
        pixels = loss_map.flatten(2)
        n = pixels.shape[2]
        k = self.pixels(n)
        require(k <= n, "k", k, f"at most the image's {n} pixels")
        largest = pixels.topk(k, dim=2, sorted=False).values
        if valid is None:
            return largest.mean(dim=2)
        return largest.sum(dim=2) / valid.flatten(2).sum(dim=2).clamp(1, k)


@AGGREGATIONS.register("softmin")
class Softmin(Aggregation):
    """Minus the logarithm of a soft minimum of each pixel's probability p of its own label.

    The soft minimum is sum(p softmax((1 - p) / temperature)), the rule by which annotations of segmentation
    are ranked (Lad and Mueller, Estimating label quality in segmentation, arXiv:2307.05080). Temperature to 0
    is the largest pixel loss, a large one the mean of p. p is read from the loss, exp(-loss), which makes it
    the probability where the loss is cross-entropy. temperature: above 0.
    """

    def __init__(self, temperature: float = 0.1):
        require(temperature > 0, "temperature", temperature, "above 0")
        self.temperature = temperature

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        import torch

        probability = torch.exp(-loss_map).flatten(2)
        weight = (1 - probability) / self.temperature
        if valid is not None:
            weight = weight.masked_fill(~valid.bool().expand_as(loss_map).flatten(2), -torch.inf)
        soft = (probability * weight.softmax(dim=2)).sum(dim=2)
        score = -torch.log(soft.clamp_min(torch.finfo(soft.dtype).tiny))
        return score.nan_to_num(0.0).clamp_min(0.0)  # an image without a pixel that counts has softmax NaN


@AGGREGATIONS.register("mindefects_maxbackground")
class MinDefectsMaxBackground(Aggregation):
    """The larger of: smallest loss over target pixels, largest loss over background pixels.

    A defect that is found somewhere counts as found, so that a badly drawn border costs nothing on the
    inside. Without target pixels the background's maximum alone counts. With `per_zone`, every connected
    zone (8 neighbours) has its own minimum and the largest of them counts, so that a missed second
    defect is not hidden by a found first one.
    """

    def __init__(self, per_zone: bool = False):
        self.per_zone = per_zone

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        import torch

        counted = torch.ones_like(target, dtype=torch.bool) if valid is None else valid.bool()
        defect = target.bool() & counted
        background = (loss_map * (~target.bool() & counted)).amax(dim=(2, 3))
        if self.per_zone:
            missed = largest_zone_minimum(loss_map, defect)
        else:
            missed = loss_map.masked_fill(~defect, torch.inf).amin(dim=(2, 3))
            missed = missed.masked_fill(missed.isinf(), 0.0)
        return torch.maximum(missed, background)


def connected_zones(mask: Tensor) -> Tensor:
    """Label the 8-connected zones of mask (N, H, W) bool: (N, H, W) int64, 0 outside, positive inside.

    Labels differ between the zones of one image; they are not consecutive. Each round spreads the largest
    label of a zone by one pixel and then jumps to the label's own label, so that a long thin scratch
    needs far fewer rounds than its length in pixels.
    """
    import torch
    from torch.nn import functional as F

    n, h, w = mask.shape
    own = torch.arange(1, h * w + 1, device=mask.device).view(1, h, w).expand(n, h, w)
    labels = own * mask
    while True:
        # float64 holds pixel numbers exactly (max_pool2d has no integer kernel)
        spread = F.max_pool2d(labels.double().unsqueeze(1), 3, stride=1, padding=1).squeeze(1).long() * mask
        # pointer jumping: the label found at the pixel that the label points to
        padded = F.pad(spread.flatten(1), (1, 0))
        jumped = padded.gather(1, spread.flatten(1)).view(n, h, w)
        if torch.equal(jumped, labels):
            return labels
        labels = jumped


def largest_zone_minimum(loss_map: Tensor, defect: Tensor) -> Tensor:
    """Per channel, the largest over connected zones of the zone's smallest loss; 0 without zones. (B, D)"""
    import torch

    b, d, h, w = loss_map.shape
    result = loss_map.new_zeros(b * d)
    rows = defect.flatten(0, 1).flatten(1).any(dim=1).nonzero().squeeze(1)
    if len(rows) == 0:
        return result.view(b, d)
    labels = connected_zones(defect.flatten(0, 1)[rows]).flatten(1)
    losses = loss_map.flatten(0, 1)[rows].flatten(1)
    minima = losses.new_full((len(rows), h * w + 1), torch.inf)
    minima.scatter_reduce_(1, labels, losses, reduce="amin")
    minima[:, 0] = 0.0  # label 0 is the background
    minima.masked_fill_(minima.isinf(), 0.0)  # labels that no pixel carries
    result[rows] = minima.amax(dim=1)
    return result.view(b, d)


@AGGREGATIONS.register("maskdefectborders")
class MaskDefectBorders(Aggregation):
    """The largest loss outside a band of `width` pixels on each side of the target's border.

    The band is the morphological gradient of the target with a square of side 2 * width + 1. A zone
    at most 2 * width across lies wholly inside its band: its own loss then does not count.
    """

    def __init__(self, width: int = 2):
        at_least(1, width=width)
        require(width <= 1024, "width", width, "at most 1024")
        self.width = width

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        from torch.nn import functional as F

        side, zones = 2 * self.width + 1, target.to(loss_map.dtype)
        dilated = F.max_pool2d(zones, side, stride=1, padding=self.width)
        eroded = -F.max_pool2d(-zones, side, stride=1, padding=self.width)
        counted = dilated == eroded
        if valid is not None:
            counted = counted & valid.bool()
        return (loss_map * counted).amax(dim=(2, 3))


@AGGREGATIONS.register("shift")
class Shift(Max):
    """The largest loss of a randomly shifted image: a border error depends on where the border falls.

    Image and target move together by the same (dx, dy), drawn per image from [-max_shift, max_shift];
    pixels that came in from outside do not count. The blog post does not say whether the target moves;
    leaving it in place would raise the border loss that the scheme wants to erase.
    """

    moves_image = True

    def __init__(self, max_shift: int = 4):
        at_least(1, max_shift=max_shift)
        self.max_shift = max_shift

    def transform(
        self, images: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shift images (B, C, H, W) and target (B, D, H, W); also returns valid (B, 1, H, W) bool."""
        import torch

        b, _, h, w = images.shape
        offsets = torch.randint(-self.max_shift, self.max_shift + 1, (2, b, 1), generator=generator)
        rows = torch.arange(h) - offsets[0]
        cols = torch.arange(w) - offsets[1]
        inside = ((rows >= 0) & (rows < h))[:, :, None] & ((cols >= 0) & (cols < w))[:, None, :]
        rows, cols = rows.clamp(0, h - 1).to(images.device), cols.clamp(0, w - 1).to(images.device)
        batch = torch.arange(b, device=images.device)[:, None, None]

        def move(x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1)[batch, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)

        return move(images), move(target), inside.unsqueeze(1).to(images.device)

    def check_size(self, height: int, width: int, scale_factor: float = 1.0) -> None:
        side = min(height, width)
        require(
            self.max_shift < side, "max_shift", self.max_shift, f"below the image's side of {side} pixels"
        )
