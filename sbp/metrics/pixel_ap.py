"""Pixel-level average precision, exact up to the width of a bin, in constant memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class PixelAveragePrecision:
    """Area under the pixel precision-recall curve per defect, from histograms of logits.

    AP = sum over bins, from the highest logit down, of precision * (increase of recall): the step-wise
    average precision of scikit-learn's `average_precision_score`, where pixels of one bin count as ties.
    Bins are uniform over logits in [-limit, limit]; what lies beyond falls into the end bins. A histogram
    over logits resolves the tail near probability 0, where most of the ranking happens; logits that all
    lie within a few bin widths (2 * limit / bins = 0.002) are barely ranked.

    num_defects: D, at least 1. bins: at least 2. limit: in logits, above 0. Other values raise ValueError.
    """

    def __init__(self, num_defects: int, bins: int = 16384, limit: float = 16.0):
        if num_defects < 1 or bins < 2 or not limit > 0:
            raise ValueError(
                f"num_defects={num_defects}, bins={bins}, limit={limit}: must be at least 1, 2, above 0"
            )
        self.num_defects, self.bins, self.limit = num_defects, bins, limit
        self.counts = np.zeros((2, num_defects, bins), dtype=np.int64)

    def update(self, logits: "Tensor", target: "Tensor", valid: "Tensor | None" = None) -> None:
        """Add a batch of any size, on the CPU or a GPU.

        logits: (B, D, H, W), any float type; infinite ones fall into the end bins. target: (B, D, H, W),
        any type; a pixel that is not 0 is positive. valid: (B, D, H, W) bool, which pixels count, None for
        all. Raises ValueError on other shapes and on NaN logits, and then nothing is added.
        """
        if logits.ndim != 4 or logits.shape[1] != self.num_defects or logits.shape != target.shape:
            raise ValueError(
                f"logits {tuple(logits.shape)} and target {tuple(target.shape)}: "
                f"must both be (B, {self.num_defects}, H, W)"
            )
        logits = logits.detach()
        if logits.numel() and logits.amin().isnan():  # amin passes NaN on, without a temporary array
            raise ValueError("logits: NaN cannot be ranked")
        scaled = (logits.float() + self.limit) * (self.bins / (2 * self.limit))
        index = scaled.clamp_(0, self.bins - 1).int()
        index += index.new_tensor(np.arange(self.num_defects) * self.bins).view(1, -1, 1, 1)
        index.add_(target.to(index.device).bool(), alpha=self.num_defects * self.bins)
        counted = index.flatten() if valid is None else index[valid.to(index.device)]
        counts = counted.bincount(minlength=self.counts.size)
        self.counts += counts.cpu().numpy().reshape(self.counts.shape)

    def add_others(self, added_up: Callable[[np.ndarray], np.ndarray]) -> None:
        """Go on with what all processes have seen. added_up: the sum of an array over them."""
        self.counts = added_up(self.counts)

    def compute(self) -> np.ndarray:
        """(D,) float64 average precision in [0, 1]; NaN for a defect without a positive pixel."""
        negatives, positives = self.counts[:, :, ::-1].cumsum(axis=2)  # from the surest pixel down
        total = positives[:, -1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = positives / (positives + negatives)
            recall_step = np.diff(positives, axis=1, prepend=0) / total
        result = np.nansum(precision * recall_step, axis=1)
        return np.where(total[:, 0] > 0, result, np.nan)
