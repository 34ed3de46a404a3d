"""Pixel-level average precision, exact up to the width of a bin, in constant memory."""

import numpy as np
import torch
from torch import Tensor


class PixelAveragePrecision:
    """Area under the pixel precision-recall curve per defect, from histograms of logits.

    Bins are uniform over logits in [-limit, limit]; what lies beyond falls into the end bins. A histogram
    over logits resolves the tail near probability 0, where most of the ranking happens.
    """

    def __init__(self, num_defects: int, bins: int = 2048, limit: float = 16.0):
        if num_defects < 1 or bins < 2:
            raise ValueError(f"num_defects={num_defects}, bins={bins}: must be at least 1 and 2")
        self.num_defects, self.bins, self.limit = num_defects, bins, limit
        self.counts = np.zeros((2, num_defects, bins), dtype=np.int64)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch: logits (B, D, H, W), target (B, D, H, W) in {0, 1}, on the same device."""
        scaled = (logits.float() + self.limit) * (self.bins / (2 * self.limit))
        index = scaled.clamp_(0, self.bins - 1).long()
        defect = torch.arange(self.num_defects, device=logits.device).view(1, -1, 1, 1)
        index += (target.long() * self.num_defects + defect) * self.bins
        counts = torch.bincount(index.flatten(), minlength=self.counts.size)
        self.counts += counts.cpu().numpy().reshape(self.counts.shape)

    def compute(self) -> np.ndarray:
        """(D,) average precision in [0, 1]; NaN for a defect without a target pixel."""
        negatives, positives = self.counts[:, :, ::-1].cumsum(axis=2)  # from the surest pixel down
        total = positives[:, -1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = positives / (positives + negatives)
            recall_step = np.diff(positives, axis=1, prepend=0) / total
        result = np.nansum(precision * recall_step, axis=1)
        return np.where(total[:, 0] > 0, result, np.nan)
