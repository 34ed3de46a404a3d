"""Training losses, each with the unreduced map that scoring needs.

torch is imported where it is used: the config asks this module for names and keys alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sbp.plugins.checks import at_least, fraction
from sbp.plugins.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class SegmentationLoss(ABC):
    """A loss on logits and target (B, D, H, W), target in {0, 1}. valid: (B, D, H, W) bool, which pixels
    count, or None for all.

    Two things are said by the class that defines `reduce`. sums_over_ranks: what it adds up over the batch it
    adds up with sbp.engine.ranks.batch_sum, so that several processes can share a batch. weighs_images: what
    `reduce_weighted` makes of it is right, so that some images may count more than others. And one by the
    class that defines `loss_map`: is_cross_entropy, the map is -ln of the probability of the true label.
    task: see sbp.metrics.tasks.
    """

    name: str
    task = "segmentation"
    sums_over_ranks = True
    weighs_images = True
    is_cross_entropy = False

    @abstractmethod
    def loss_map(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss per pixel (B, D, H, W), at least 0, in nats."""

    def reduce(self, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The scalar to minimise, from the loss map and whatever else the loss takes into account."""
        return mean_where(loss_map, valid)

    def reduce_weighted(
        self, weights: Tensor, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """As `reduce`, an image of weight 2 counting as two of them. weights: (B, 1, 1, 1), at least 0. This
        one is for a `reduce` that is a mean of the map's values, whichever of them it takes."""
        return self.reduce(loss_map * weights, logits, target, valid)


def says(cls: type[SegmentationLoss], flag: str, method: str = "reduce") -> bool:
    """Whether the class that defines the method says so; one that inherits it says nothing about it."""
    return bool(vars(defines(cls, method)).get(flag, False))


def defines(cls: type[SegmentationLoss], method: str = "reduce") -> type:
    """The class that the method comes from."""
    return next(base for base in cls.__mro__ if method in vars(base))


def mean_where(values: Tensor, valid: Tensor | None) -> Tensor:
    """The mean over the pixels that count, of all ranks that share the batch; 0 where none does."""
    from sbp.engine.ranks import batch_is_shared, batch_sum

    if batch_is_shared():
        counted = values.new_tensor(values.numel()) if valid is None else valid.sum()
        total = values.sum() if valid is None else (values * valid).sum()
        return batch_sum(total) / batch_sum(counted.to(values.dtype)).clamp_min(1)
    if valid is None:
        return values.mean()
    return (values * valid).sum() / valid.sum().clamp_min(1)


LOSSES: Registry[SegmentationLoss] = Registry("loss")


@LOSSES.register("bce")
class Bce(SegmentationLoss):
    """Binary cross-entropy with logits."""

    is_cross_entropy = True

    def loss_map(self, logits: Tensor, target: Tensor) -> Tensor:
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


@LOSSES.register("focal")
class Focal(Bce):
    """Focal loss: cross-entropy times (1 - p_correct) ** gamma (Lin et al., arXiv:1708.02002, equation 4).

    gamma: focusing exponent, at least 0. alpha in [0, 1] weights defect pixels, 1 - alpha the background;
    None weights neither.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = None):
        at_least(0, gamma=gamma)
        fraction(alpha=alpha)
        self.gamma, self.alpha = gamma, alpha

    def loss_map(self, logits: Tensor, target: Tensor) -> Tensor:
        import torch

        cross_entropy = super().loss_map(logits, target)
        # 1 - p_correct is exactly 0 for a very sure pixel, where the power's gradient would be NaN
        wrong = -torch.expm1(-cross_entropy)
        weighted = wrong.clamp_min(1e-8) ** self.gamma * cross_entropy
        if self.alpha is None:
            return weighted
        return weighted * (self.alpha * target + (1 - self.alpha) * (1 - target))


@LOSSES.register("dice_bce")
class DiceBce(Bce):
    """A mix of binary cross-entropy and soft Dice, the Dice taken per defect over the whole batch.

    Dice has no value per pixel, so the loss map is the cross-entropy's. Batch-wide Dice keeps images
    without the defect from counting as a loss of 1 each. dice_weight: share of the Dice term in [0, 1].
    of_present: of the Dice, the mean over the defects that the batch holds, as smp's DiceLoss; else over all,
    where a defect that few batches hold is mostly told to be nowhere.
    """

    sums_over_ranks = True
    weighs_images = True

    def __init__(self, dice_weight: float = 0.5, of_present: bool = True):
        fraction(dice_weight=dice_weight)
        self.dice_weight, self.of_present = dice_weight, of_present

    def reduce(self, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        dice = self._dice(logits, target, valid)
        return (1 - self.dice_weight) * mean_where(loss_map, valid) + self.dice_weight * dice

    def reduce_weighted(
        self, weights: Tensor, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Each image's pixels count `weights` times in the sums of the Dice, too."""
        dice = self._dice(logits, target, valid, weights)
        return (1 - self.dice_weight) * mean_where(loss_map * weights, valid) + self.dice_weight * dice

    def _dice(
        self, logits: Tensor, target: Tensor, valid: Tensor | None, weights: Tensor | None = None
    ) -> Tensor:
        from sbp.engine.ranks import batch_sum

        probability = logits.sigmoid()
        if valid is not None:
            probability = probability * valid
        shared = probability * target
        if weights is not None:
            probability, target, shared = (part * weights for part in (probability, target, shared))
        overlap = 2 * batch_sum(shared.sum(dim=(0, 2, 3))) + 1
        annotated = batch_sum(target.sum(dim=(0, 2, 3)))
        total = batch_sum(probability.sum(dim=(0, 2, 3))) + annotated + 1
        dice = 1 - overlap / total
        if not self.of_present:
            return dice.mean()
        present = annotated > 0
        return (dice * present).sum() / present.sum().clamp_min(1)


@LOSSES.register("ohem_bce")
class OhemBce(Bce):
    """Cross-entropy of the hard pixels alone: online hard example mining.

    As OHEMPixelSampler of mmsegmentation and the usual OhemCrossEntropy do it for a softmax: a pixel of a map
    weighs 1 where the probability of its true label is below `threshold`, in [0, 1], or is one of the lowest
    `min_kept` of its image, a share in [0, 1] of the pixels of all its maps that count, rounded up, at least
    one; else 0. The loss is the mean over those that weigh 1. There, `min_kept` is a number of pixels, on
    average over a batch (100,000 of a crop of 512 x 1,024: the default here); here every image has its own,
    so that the rule does not depend on which images share a batch. The loss map is the cross-entropy.
    """

    sums_over_ranks = True
    weighs_images = True

    def __init__(self, threshold: float = 0.7, min_kept: float = 0.19):
        fraction(threshold=threshold, min_kept=min_kept)
        self.threshold, self.min_kept = threshold, min_kept

    def reduce(self, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        return mean_where(loss_map, self.is_hard(logits, target, valid))

    def is_hard(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, D, H, W) bool, which pixels the loss is taken of."""
        # the true label's log-odds: in their order, and unlike probabilities never rounded to 1
        odds = (logits * (2 * target - 1)).detach().flatten(1)
        if valid is None:
            number = max(1, math.ceil(self.min_kept * odds.shape[1]))
            lowest = odds.kthvalue(number, dim=1, keepdim=True).values
        else:
            counts = valid.flatten(1)
            odds = odds.masked_fill(~counts, math.inf)
            numbers = (self.min_kept * counts.sum(1, keepdim=True).double()).ceil().long().clamp_min(1)
            lowest = odds.sort(dim=1).values.gather(1, numbers - 1)
        hard = ((odds < _log_odds(self.threshold)) | (odds <= lowest)).view_as(logits)
        return hard if valid is None else hard & valid


@LOSSES.register("cross_entropy")
class CrossEntropy(SegmentationLoss):
    """Softmax cross-entropy over the channels, for images of which each is of one class.

    Logits and target are (B, K, 1, 1), the target one-hot. The loss map has an image's cross-entropy in the
    channel of its class and 0 in all others, so that its score, the largest over channels, is its loss.
    """

    task = "classification"
    sums_over_ranks = True
    weighs_images = True
    is_cross_entropy = True

    def loss_map(self, logits: Tensor, target: Tensor) -> Tensor:
        return -logits.log_softmax(dim=1) * target

    def reduce(self, loss_map: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        return mean_where(loss_map, valid) * loss_map.shape[1]


def _log_odds(probability: float) -> float:
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))
