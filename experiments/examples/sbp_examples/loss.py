"""A loss: binary cross-entropy with a weight on defect pixels."""

from torch import Tensor
from torch.nn import functional as F

from sbp.engine.losses import LOSSES, SegmentationLoss
from sbp.plugins.checks import above


@LOSSES.register("weighted_bce")
class WeightedBce(SegmentationLoss):
    """Cross-entropy in which a defect pixel counts `defect_weight` times, above 0."""

    def __init__(self, defect_weight: float = 4.0):
        above(0, defect_weight=defect_weight)
        self.defect_weight = defect_weight

    def loss_map(self, logits: Tensor, target: Tensor) -> Tensor:
        weight = 1 + (self.defect_weight - 1) * target
        return weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
