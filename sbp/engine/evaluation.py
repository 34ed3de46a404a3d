"""Metrics of a split: per-defect region mAP, pixel AP and loss, against annotations and clean masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.metrics import PixelAveragePrecision, RegionAveragePrecision, mean_over_defects


@dataclass(frozen=True)
class Evaluator:
    """How a split is measured; see METRICS in the README for each metric.

    threshold: probability above which a pixel belongs to a predicted region. min_area: predicted regions
    of fewer pixels do not count. iou_thresholds: a region counts as found above each of them in turn.
    """

    defects: Sequence[str]
    loss: SegmentationLoss
    compute: Compute
    batch_size: int
    precision: str = "fp32"
    threshold: float = 0.5
    min_area: int = 1
    iou_thresholds: Sequence[float] = (0.10, 0.20, 0.30, 0.40, 0.50)

    def evaluate(self, model: nn.Module, split: Split, prefix: str) -> dict[str, float]:
        """Metrics `prefix/map`, `prefix/map/<defect>`, `prefix/pixel_ap/...`, `prefix/loss/...`.

        Where clean masks are known, also `prefix/clean_map...`. A defect that the split does not hold has
        NaN and stays out of the means.
        """
        regions, pixels = self._regions(), PixelAveragePrecision(len(self.defects))
        clean = None if split.clean_masks is None else self._regions()
        losses = np.zeros(len(self.defects))
        with evaluating(model):
            for batch in plain_batches(split, np.arange(len(split)), self.batch_size):
                target = self.compute.targets(batch.masks)
                with self.compute.autocast(self.precision):
                    logits = model(self.compute.inputs(batch.images))
                logits = logits.float()
                losses += self.loss.loss_map(logits, target).mean(dim=(2, 3)).sum(dim=0).cpu().numpy()
                pixels.update(logits, target)
                probabilities = logits.sigmoid().cpu()
                regions.update(probabilities, target)
                if clean is not None and split.clean_masks is not None:
                    clean.update(probabilities, _channels_first(split.clean_masks[batch.indices]))
        values = {"map": regions.compute().ap, "pixel_ap": pixels.compute(), "loss": losses / len(split)}
        if clean is not None:
            values["clean_map"] = clean.compute().ap
        return self._named(values, prefix)

    def oracle(self, split: Split, prefix: str) -> dict[str, float]:
        """`prefix/oracle_map...`: what clean masks would score as predictions, the ceiling that annotation
        errors leave; empty where clean masks are not known."""
        if split.clean_masks is None:
            return {}
        regions = self._regions()
        for batch in plain_batches(split, np.arange(len(split)), self.batch_size):
            prediction = _channels_first(split.clean_masks[batch.indices]).float()
            regions.update(prediction, _channels_first(batch.masks.numpy()))
        return self._named({"oracle_map": regions.compute().ap}, prefix)

    def _regions(self) -> RegionAveragePrecision:
        return RegionAveragePrecision(
            len(self.defects), tuple(self.iou_thresholds), threshold=self.threshold, min_area=self.min_area
        )

    def _named(self, values: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
        metrics = {}
        for name, per_defect in values.items():
            metrics[f"{prefix}/{name}"] = float(mean_over_defects(per_defect))
            for defect, value in zip(self.defects, per_defect, strict=True):
                metrics[f"{prefix}/{name}/{defect}"] = float(value)
        return metrics


def _channels_first(masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(masks.transpose(0, 3, 1, 2)))
