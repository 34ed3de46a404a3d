"""What a line in inspection asks of a model: false alarms at a fixed recall, and what it overlooks.

A predicted region counts from a threshold of its confidence on. A target region is found if one that counts
matches it at the lowest IoU threshold that average precision looks at, 0.1 unless configured otherwise: the
regions and matches are those that average precision ranks. Where no threshold reaches the recall, there is
none to choose (NaN) and no number of false regions would do (infinity); `max_recall` then says how far it
gets. Neither is ever 0, which would be the best possible value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.metrics import names
from sbp.metrics.region_ap import MatchedRegions

SIZE_BOUNDS = (0.003, 0.03)
"""Shares of the image's pixels from which on a region is medium and large: COCO's 32 x 32 and 96 x 96 pixels
of an image of 640 x 480. Shares, so that classes stay the same when images are brought to another size; and
fixed, not thirds of the annotations, so that a small defect is small in every data set, split and seed."""


@dataclass(frozen=True)
class ImageGroups:
    """Which of N images false regions are counted on. healthy: (N,) bool, images without any defect.
    lookalike: (N,) bool, those of them that the data set says to show what resembles one."""

    healthy: np.ndarray
    lookalike: np.ndarray

    @classmethod
    def of(cls, healthy: np.ndarray, kinds: Sequence[str]) -> "ImageGroups":
        """healthy: (N,) bool; kinds: of every image, what it shows beside defects, empty for nothing."""
        return cls(healthy, healthy & np.array([bool(kind) for kind in kinds], dtype=bool))

    def counts(self) -> dict[str, int]:
        """How many images each group has, by the metric's name; look-alikes only where there are some."""
        lookalikes = {names.LOOKALIKE_IMAGES: int(self.lookalike.sum())} if self.lookalike.any() else {}
        return {names.HEALTHY_IMAGES: int(self.healthy.sum()), **lookalikes}


def threshold_for(regions: MatchedRegions, recall: float) -> float:
    """The highest confidence threshold at which the recall is at least `recall`, in (0, 1]; regions of just
    that confidence count. NaN where none reaches it, or there is no target."""
    targets = len(regions.found_at)
    if not targets:
        return math.nan
    needed = math.ceil(recall * targets - 1e-9)  # 1e-9: 0.8 of 15 is 12, not a little more
    threshold = float(np.sort(regions.found_at)[targets - needed])
    return threshold if math.isfinite(threshold) else math.nan


def recall_at(regions: MatchedRegions, threshold: float = 0.0) -> float:
    """Share of the target regions that are found by regions of at least this confidence; NaN without a
    target, or for the threshold NaN. By default, by all regions: the highest recall that any threshold
    reaches."""
    if not len(regions.found_at) or math.isnan(threshold):
        return math.nan
    return float((regions.found_at >= threshold).mean())


def false_regions_at(regions: MatchedRegions, threshold: float, images: np.ndarray) -> float:
    """Regions of at least this confidence on the images (N,) bool, which hold no defect, per image; NaN
    without such an image, or for the threshold NaN."""
    if not images.any() or math.isnan(threshold):
        return math.nan
    return float(images[regions.image[regions.confidence >= threshold]].sum() / images.sum())


def recall_by_size(regions: MatchedRegions, threshold: float = 0.0) -> list[tuple[int, float]]:
    """Number of target regions of each of names.SIZES, and the recall among them; see `recall_at`."""
    size_of = np.digitize(regions.target_share, SIZE_BOUNDS)
    found = regions.found_at >= threshold
    members = [size_of == size for size in range(len(names.SIZES))]
    return [(int(m.sum()), float(found[m].mean()) if m.any() else math.nan) for m in members]


def operating_metrics(regions: Sequence[MatchedRegions], groups: ImageGroups) -> dict[str, np.ndarray]:
    """Every metric of this module by name, (D,) float64 each; regions: of each of D defects.

    Recall by size is that by all regions, from `evaluation.threshold` on: always defined, it says which
    defects no threshold will find. At a threshold for recall 0.8 it would be 0.8 on average by definition,
    and unknown wherever that is not reached. Look-alikes have no entry where there are none.
    """
    values = {names.MAX_RECALL: np.array([recall_at(found) for found in regions])}
    by_size = np.array([[recall for _, recall in recall_by_size(found)] for found in regions])
    values |= {names.recall_of(size): by_size[:, k] for k, size in enumerate(names.SIZES)}
    for recall in names.RECALLS:
        thresholds = np.array([threshold_for(found, recall) for found in regions])
        values[names.threshold_for(recall)] = thresholds
        counted = {names.FALSE_REGIONS: groups.healthy}
        if groups.lookalike.any():
            counted[names.LOOKALIKE_FALSE_REGIONS] = groups.lookalike
        for name, images in counted.items():
            values[names.at_recall(name, recall)] = np.array(
                [
                    false_regions_for(found, threshold, images)
                    for found, threshold in zip(regions, thresholds, strict=True)
                ]
            )
    return values


def lowest_of_defects(values: np.ndarray) -> float:
    """The lowest of the values (D,) that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else math.nan


def false_regions_for(regions: MatchedRegions, threshold: float, images: np.ndarray) -> float:
    """As `false_regions_at`, for the threshold that reaches a recall; infinity where none does (NaN)."""
    never = math.isnan(threshold) and len(regions.found_at) > 0 and bool(images.any())
    return math.inf if never else false_regions_at(regions, threshold, images)
