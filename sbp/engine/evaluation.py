"""Metrics of a split: per-defect region mAP, pixel AP, loss and operating points, against annotations and
clean masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sbp.data.dataset import Split
from sbp.data.loader import plain_batches
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.device import Compute, evaluating
from sbp.engine.losses import SegmentationLoss
from sbp.engine.ranks import ALONE, Ranks
from sbp.metrics import (
    ImageGroups,
    MatchedRegions,
    PixelAveragePrecision,
    RegionAveragePrecision,
    lowest_of_defects,
    mean_over_defects,
    names,
    operating_metrics,
)
from sbp.selection.aggregation import Mean

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer

MEAN = Mean()


@dataclass(frozen=True)
class ValidationSchedule:
    """Validate every `every` epochs or, if `count` is given, so many times spread over the budget, at the
    ends of epochs; and after the last one."""

    every: int = 1
    count: int | None = None

    def due(self, epoch: int, used_before: float, used: float) -> bool:
        """Whether it is time after `epoch`, which used the budget from one share to the other."""
        if self.count is None:
            return (epoch + 1) % self.every == 0
        return int(used * self.count + 1e-9) > int(used_before * self.count + 1e-9)


@dataclass(frozen=True)
class SplitMeasures:
    """What was measured of a split. values: (D,) by name, without what follows from the rest; regions: of
    each defect; groups: of the split's images."""

    values: dict[str, np.ndarray]
    regions: list[MatchedRegions]
    groups: ImageGroups


@dataclass(frozen=True)
class Evaluator:
    """How a split is measured; sbp.metrics.names says what each metric is.

    threshold: probability above which a pixel belongs to a predicted region. min_area: predicted regions
    of fewer pixels do not count. iou_thresholds: a region counts as found above each of them in turn. ranks:
    share the images out, each has the metrics of all.
    """

    defects: Sequence[str]
    loss: SegmentationLoss
    compute: Compute
    batch_size: int
    precision: str = "fp32"
    threshold: float = 0.5
    min_area: int = 1
    iou_thresholds: Sequence[float] = (0.10, 0.20, 0.30, 0.40, 0.50)
    ranks: Ranks = ALONE

    def evaluate(self, model: nn.Module, split: Split, prefix: str) -> dict[str, float]:
        """Metrics `prefix/map`, `prefix/map/<defect>`, `prefix/pixel_ap/...`, `prefix/loss/...`, and the
        operating points, `prefix/false_regions/...` and so on (sbp.metrics.operating_points).

        Where clean masks are known, also `prefix/clean_map...`. A defect that the split does not hold has
        NaN and stays out of the means.
        """
        return self.metrics_of(self.measure(model, split), prefix)

    def metrics_of(self, measured: SplitMeasures, prefix: str) -> dict[str, float]:
        """The metrics of `evaluate`, of what was measured."""
        points = operating_metrics(measured.regions, measured.groups)
        metrics = self._named(measured.values | points, prefix)
        # a mean would not say whether every defect reaches a recall
        metrics[names.of_split(prefix, names.MAX_RECALL)] = lowest_of_defects(points[names.MAX_RECALL])
        for recall in names.RECALLS:  # nobody applies the mean of thresholds
            del metrics[names.of_split(prefix, names.threshold_for(recall))]
        counts = measured.groups.counts().items()
        return metrics | {names.of_split(prefix, name): float(count) for name, count in counts}

    def measure(self, model: nn.Module, split: Split) -> SplitMeasures:
        """Apply the model to every image of the split, once."""
        regions, pixels = self._regions(), PixelAveragePrecision(len(self.defects))
        clean = None if split.clean_masks is None else self._regions()
        losses = np.zeros(len(self.defects))
        healthy: np.ndarray = np.logical_not(split.labels.any(axis=1))
        with evaluating(model):
            for batch in plain_batches(split, np.arange(len(split))[self.ranks.share], self.batch_size):
                target, valid = self.compute.targets(batch.masks)
                with self.compute.autocast(self.precision):
                    logits = model(self.compute.inputs(batch.images))
                logits = logits.float()
                loss_map = self.loss.loss_map(logits, target)
                losses += MEAN(loss_map, target, valid).sum(dim=0).cpu().numpy()
                pixels.update(logits, target, valid)
                probabilities = logits.sigmoid()
                if valid is not None:  # neither found nor a false alarm
                    probabilities = probabilities * valid
                probabilities = probabilities.cpu()
                regions.update(probabilities, target, batch.indices)
                if clean is not None and split.clean_masks is not None:
                    truth = split.clean_masks[batch.indices]
                    # a defect that was not annotated is rightly found
                    healthy[batch.indices] &= ~(truth == 1).any(axis=(1, 2, 3))
                    clean.update(probabilities, _channels_first(truth))
        if self.ranks.count > 1:
            pixels.add_others(self.ranks.added_up)
            for found in (regions, clean) if clean is not None else (regions,):
                found.add_others(self.ranks.concatenated)
            losses = self.ranks.added_up(losses)
            healthy = self.ranks.together(healthy[self.ranks.share])
        values = {"map": regions.compute().ap, "pixel_ap": pixels.compute(), "loss": losses / len(split)}
        if clean is not None:
            values["clean_map"] = clean.compute().ap
        by_defect = [regions.regions(d) for d in range(len(self.defects))]
        return SplitMeasures(values, by_defect, ImageGroups.of(healthy, split.kinds))

    def oracle(self, split: Split, prefix: str) -> dict[str, float]:
        """`prefix/oracle_map...`: what clean masks would score as predictions, the ceiling that annotation
        errors leave; empty where clean masks are not known."""
        if split.clean_masks is None:
            return {}
        regions = self._regions()
        for batch in plain_batches(split, np.arange(len(split)), self.batch_size):
            prediction = _channels_first(split.clean_masks[batch.indices]).float()
            regions.update(prediction, _channels_first(batch.masks.numpy() == 1))
        return self._named({"oracle_map": regions.compute().ap}, prefix)

    def _regions(self) -> RegionAveragePrecision:
        return RegionAveragePrecision(
            len(self.defects), tuple(self.iou_thresholds), threshold=self.threshold, min_area=self.min_area
        )

    def _named(self, values: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
        metrics = {}
        for name, per_defect in values.items():
            metrics[names.of_split(prefix, name)] = float(mean_over_defects(per_defect))
            for defect, value in zip(self.defects, per_defect, strict=True):
                metrics[names.of_split(prefix, name, defect)] = float(value)
        return metrics


class AnnotationCeiling(Callback):
    """Logs once, with the first epoch, what perfect predictions would score in the validation split."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        if self.metrics is None and isinstance(trainer.evaluator, Evaluator):
            self.metrics = trainer.evaluator.oracle(trainer.data.splits["val"], "val")

    def on_epoch_end(self, trainer: "Trainer", record: EpochRecord) -> None:
        if record.epoch == 0:
            record.metrics.update(self.metrics or {})

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics = state["metrics"]


class FinalTest(Callback):
    """Measures the test split with the last model: once, and chosen by nothing."""

    on_every_rank = True

    def on_fit_end(self, trainer: "Trainer", record: EpochRecord) -> None:
        record.metrics.update(trainer.evaluate("test"))


def _channels_first(masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(masks.transpose(0, 3, 1, 2)))
