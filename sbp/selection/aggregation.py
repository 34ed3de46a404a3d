"""From a loss map to one score per defect channel (the blog post, "Aggregation"; its border-effect schemes).

Shapes: loss_map (B, D, H, W), target (B, D, H, W), valid (B, 1, H, W) or None, scores (B, D).
Losses are in nats and at least 0, so 0 is the neutral element of every maximum below.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Aggregation(Protocol):
    """One score per image and defect from a map of losses; higher means more worth training on."""

    name: str

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Aggregate loss_map (B, D, H, W) over space, giving (B, D). Pixels outside `valid` do not count."""
        ...


class Max:
    """The largest pixel loss (global max pooling)."""

    name = "max"

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is not None:
            loss_map = loss_map.masked_fill(~valid.bool(), 0.0)
        return loss_map.amax(dim=(2, 3))


class Mean:
    """The mean pixel loss (global average pooling)."""

    name = "mean"

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is None:
            return loss_map.mean(dim=(2, 3))
        return (loss_map * valid).sum(dim=(2, 3)) / valid.sum(dim=(2, 3)).clamp_min(1)


class TopKMean:
    """The mean of the K largest pixel losses: between max (K = 1) and mean (K = all pixels).

    Give `k` in pixels or `fraction` of the image's pixels in (0, 1]; exactly one of them.
    """

    name = "topk_mean"

    def __init__(self, k: int | None = None, fraction: float | None = None):
        if (k is None) == (fraction is None):
            raise ValueError("topk_mean: give exactly one of k (pixels) and fraction")
        if k is not None and k < 1:
            raise ValueError(f"topk_mean: k={k}, must be at least 1 pixel")
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"topk_mean: fraction={fraction}, must lie in (0, 1]")
        self.k, self.fraction = k, fraction

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is not None:
            loss_map = loss_map * valid
        pixels = loss_map.flatten(2)
        n = pixels.shape[2]
        k = self.k if self.k is not None else max(1, round((self.fraction or 0) * n))
        if k > n:
            raise ValueError(f"topk_mean: k={k} is more than the image's {n} pixels")
        largest = pixels.topk(k, dim=2, sorted=False).values
        if valid is None:
            return largest.mean(dim=2)
        return largest.sum(dim=2) / valid.flatten(2).sum(dim=2).clamp(1, k)


class MinDefectsMaxBackground:
    """The larger of: smallest loss over target pixels, largest loss over background pixels.

    A defect that is found somewhere counts as found, so that a badly drawn border costs nothing on the
    inside. Without target pixels the background's maximum alone counts. With `per_zone`, every connected
    zone (8 neighbours) has its own minimum and the largest of them counts, so that a missed second
    defect is not hidden by a found first one.
    """

    name = "mindefects_maxbackground"

    def __init__(self, per_zone: bool = False):
        self.per_zone = per_zone

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
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


class MaskDefectBorders:
    """The largest loss outside a band of `width` pixels on each side of the target's border.

    The band is the morphological gradient of the target with a square of side 2 * width + 1. A zone
    at most 2 * width across lies wholly inside its band: its own loss then does not count.
    """

    name = "maskdefectborders"

    def __init__(self, width: int = 2):
        if width < 1:
            raise ValueError(f"maskdefectborders: width={width}, must be at least 1 pixel")
        self.width = width

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        side, zones = 2 * self.width + 1, target.to(loss_map.dtype)
        dilated = F.max_pool2d(zones, side, stride=1, padding=self.width)
        eroded = -F.max_pool2d(-zones, side, stride=1, padding=self.width)
        counted = dilated == eroded
        if valid is not None:
            counted = counted & valid.bool()
        return (loss_map * counted).amax(dim=(2, 3))


class Shift(Max):
    """The largest loss of a randomly shifted image: a border error depends on where the border falls.

    Image and target move together by the same (dx, dy), drawn per image from [-max_shift, max_shift];
    pixels that came in from outside do not count. The blog post does not say whether the target moves;
    leaving it in place would raise the border loss that the scheme wants to erase.
    """

    name = "shift"

    def __init__(self, max_shift: int = 4):
        if max_shift < 1:
            raise ValueError(f"shift: max_shift={max_shift}, must be at least 1 pixel")
        self.max_shift = max_shift

    def shift(self, images: Tensor, target: Tensor, generator: torch.Generator):
        """Shift images (B, C, H, W) and target (B, D, H, W); also returns valid (B, 1, H, W) bool."""
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


AGGREGATIONS: dict[str, type] = {
    cls.name: cls for cls in (Max, Mean, TopKMean, MinDefectsMaxBackground, MaskDefectBorders, Shift)
}
