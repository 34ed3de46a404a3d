"""A split measured with a trained model: metrics, and false alarms at thresholds that another split chose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sbp.build import trainer as build
from sbp.config import Config
from sbp.data.dataset import Split
from sbp.engine.evaluation import Evaluator
from sbp.metrics import ImageGroups, MatchedRegions, names
from sbp.metrics.operating_points import false_regions_at, recall_at, threshold_for
from sbp.predict.model import cached_split, restore

VALIDATION = "val"
"""The split by which a threshold is chosen."""


@dataclass(frozen=True)
class ChosenPoint:
    """What a split gives at the threshold with which a defect's recall in the validation split is `recall`.

    threshold: of a region's confidence; NaN where the validation split reaches that recall with none, and
    then so is the rest. reached: the recall here. false_regions, lookalike_false_regions: per healthy image
    and per look-alike; NaN where there are none.
    """

    defect: str
    recall: float
    threshold: float
    reached: float
    false_regions: float
    lookalike_false_regions: float


@dataclass(frozen=True)
class SplitReport:
    """A split of `images` images measured. metrics: of the split alone, as a run logs them, its own
    thresholds among them; chosen: by thresholds from the validation split, every defect at each recall, empty
    for that split itself."""

    split: str
    images: int
    defects: list[str]
    config: Config
    metrics: dict[str, float]
    chosen: list[ChosenPoint]


def evaluate_checkpoint(checkpoint: str | Path, split: str = "test", device: str = "cpu") -> SplitReport:
    """Measure a split of the data set that the checkpoint was trained on, and, for another than the
    validation split, what thresholds that were chosen there are worth. Raises UserError for a checkpoint,
    split or data set that cannot be used."""
    model, evaluator, images, config = _opened(checkpoint, split, device)
    measured, chosen, defects = evaluator.measure(model, images), [], list(evaluator.defects)
    if split != VALIDATION:
        known = evaluator.measure(model, cached_split(config, VALIDATION))
        chosen = chosen_points(defects, known.regions, measured.regions, measured.groups)
    metrics = evaluator.metrics_of(measured, split)
    return SplitReport(split, len(images), defects, config, metrics, chosen)


def chosen_points(
    defects: Sequence[str],
    known: Sequence[MatchedRegions],
    regions: Sequence[MatchedRegions],
    groups: ImageGroups,
) -> list[ChosenPoint]:
    """Thresholds chosen by the regions `known`, applied to `regions` and `groups`, which are of another
    split; both of each defect."""
    points = []
    for defect, before, here in zip(defects, known, regions, strict=True):
        for recall in names.RECALLS:
            threshold = threshold_for(before, recall)
            counted = (groups.healthy, groups.lookalike)
            alarms = [false_regions_at(here, threshold, images) for images in counted]
            points.append(ChosenPoint(defect, recall, threshold, recall_at(here, threshold), *alarms))
    return points


def evaluate_split(checkpoint: str | Path, split: str = "test", device: str = "cpu") -> dict[str, float]:
    """Metrics of a split of the data set that the checkpoint was trained on, as a run logs them."""
    model, evaluator, images, _ = _opened(checkpoint, split, device)
    return evaluator.evaluate(model, images, split)


def _opened(checkpoint: str | Path, split: str, device: str) -> tuple[nn.Module, Evaluator, Split, Config]:
    model, compute, about, config = restore(checkpoint, device)
    images = cached_split(config, split)
    return model, build.map_evaluator(config, about.defects, compute, images.image_shape), images, config
