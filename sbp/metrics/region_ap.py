"""Region-level average precision: is each defect found, and roughly where it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RegionAP:
    """Result over everything seen, for D defects and T IoU thresholds.

    ap: (D,) float64 in [0, 1], mean over thresholds; NaN for a defect without target regions.
    ap_per_threshold: (D, T) float64, likewise. num_targets, num_predictions: (D,) int64, regions seen.
    """

    ap: np.ndarray
    ap_per_threshold: np.ndarray
    num_targets: np.ndarray
    num_predictions: np.ndarray


@dataclass(frozen=True)
class RegionOverlaps:
    """The P predicted and the G target regions of one image and defect, and which of them overlap.

    pixels, region: (n,), the flat index of every pixel of a predicted region, and which region that is, 0 to
    P - 1. area: (P,), target_area: (G,), in pixels. p, t, iou: one entry per overlapping pair, the predicted
    region, the target region from 0 on, and their IoU in (0, 1].
    """

    pixels: np.ndarray
    region: np.ndarray
    area: np.ndarray
    target_area: np.ndarray
    p: np.ndarray
    t: np.ndarray
    iou: np.ndarray

    @property
    def num_targets(self) -> int:
        """G, how many regions the target has."""
        return len(self.target_area)


@dataclass(frozen=True)
class MatchedRegions:
    """The P predicted and the G target regions of one defect, of any number of images, and which find which.

    confidence: (P,) in [0, 1]. matched: (P, T) bool, whether each finds a target region, by IoU threshold.
    image: (P,) int64, the number of its image. target_share: (G,) of the image's pixels, in (0, 1].
    found_at: (G,) the confidence of the predicted region that finds the target at the lowest IoU threshold:
    with a higher confidence threshold it is missed; -infinity where none finds it.
    """

    confidence: np.ndarray
    matched: np.ndarray
    image: np.ndarray
    target_share: np.ndarray
    found_at: np.ndarray

    @classmethod
    def none(cls, num_thresholds: int) -> "MatchedRegions":
        """No region at all."""
        nothing = np.empty(0)
        matched, image = np.empty((0, num_thresholds), dtype=bool), np.empty(0, dtype=np.int64)
        return cls(nothing, matched, image, nothing, nothing)

    @classmethod
    def together(cls, parts: "Sequence[MatchedRegions]") -> "MatchedRegions":
        """Those of all parts, at least one."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def region_overlaps(predicted: np.ndarray, target: np.ndarray, min_area: int = 1) -> RegionOverlaps:
    """The regions, 8-connected zones, of two masks (H, W) uint8, 0 or 1, and their overlaps.

    Predicted zones of fewer than `min_area` pixels are no regions; target regions count whatever their area.
    """
    num_targets, target_labels = cv2.connectedComponents(target, connectivity=8)
    num_zones, zones = cv2.connectedComponents(predicted, connectivity=8)  # 0 is the background
    pixels = np.flatnonzero(predicted)
    zone = zones.ravel()[pixels]
    area = np.bincount(zone, minlength=num_zones)
    large = area >= min_area
    kept = large[zone]
    pixels, region, area = pixels[kept], (np.cumsum(large) - 1)[zone[kept]], area[large]
    target_of = target_labels.ravel()[pixels]
    both = target_of > 0
    pairs, overlap = np.unique(region[both] * num_targets + target_of[both], return_counts=True)
    p, t = np.divmod(pairs, num_targets)
    target_area = np.bincount(target_labels.ravel(), minlength=num_targets)
    iou = overlap / (area[p] + target_area[t] - overlap)
    return RegionOverlaps(pixels, region, area, target_area[1:], p, t - 1, iou)


class RegionAveragePrecision:
    """Average precision over connected regions, in the manner of COCO (Lin et al., arXiv 1405.0312).

    A predicted region is an 8-connected zone of probability above `threshold` with at least `min_area`
    pixels; its confidence is its mean probability. In descending confidence it is matched to the still
    free target region of the same image with the largest mask IoU, if that reaches the IoU threshold;
    of equally confident regions the one with the larger IoU comes first. Unlike COCO, the area under
    the curve takes all points instead of 101, and the number of regions per image has no upper limit.

    num_defects: D, at least 1. iou_thresholds: T numbers in (0, 1]. threshold: probability in [0, 1).
    min_area: pixels, at least 1; target regions count whatever their area. Other values raise ValueError.
    """

    def __init__(
        self,
        num_defects: int,
        iou_thresholds: Sequence[float] = (0.10, 0.20, 0.30, 0.40, 0.50),
        threshold: float = 0.5,
        min_area: int = 1,
    ):
        if num_defects < 1 or min_area < 1:
            raise ValueError(f"num_defects={num_defects}, min_area={min_area}: must be at least 1")
        if not len(iou_thresholds) or not all(0 < t <= 1 for t in iou_thresholds):
            raise ValueError(f"iou_thresholds={iou_thresholds}: must be one or more numbers in (0, 1]")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold={threshold}: must lie in [0, 1)")
        self.iou_thresholds = np.asarray(iou_thresholds, dtype=np.float64)
        self.num_defects, self.threshold, self.min_area = num_defects, threshold, min_area
        self.found = [[MatchedRegions.none(len(self.iou_thresholds))] for _ in range(num_defects)]
        self.num_images = 0

    def update(
        self,
        probabilities: "np.ndarray | Tensor",
        target: "np.ndarray | Tensor",
        images: np.ndarray | None = None,
    ) -> None:
        """Add a batch of any size: arrays, or tensors on any device.

        probabilities: (B, D, H, W) in [0, 1]. target: (B, D, H, W), any type; a pixel that is not 0
        belongs to a region. images: (B,) int, their numbers; by default they are counted. Raises ValueError
        on other shapes and on probabilities outside [0, 1] or NaN, and then nothing is added.
        """
        if not isinstance(probabilities, np.ndarray):
            probabilities = probabilities.detach().float().cpu().numpy()
        if not isinstance(target, np.ndarray):
            target = (target.detach() != 0).cpu().numpy()
        probabilities = np.ascontiguousarray(probabilities, dtype=np.float32)
        target = np.ascontiguousarray(target != 0, dtype=np.uint8)
        shape = probabilities.shape
        if len(shape) != 4 or shape[1] != self.num_defects or shape != target.shape:
            raise ValueError(
                f"probabilities {shape} and target {target.shape}: must both be (B, {self.num_defects}, H, W)"
            )
        if probabilities.size and not (probabilities.min() >= 0 and probabilities.max() <= 1):  # NaN too
            raise ValueError("probabilities: must lie in [0, 1]; are these logits, or NaN?")
        if images is None:
            images = np.arange(self.num_images, self.num_images + len(probabilities))
        if len(images) != len(probabilities):
            raise ValueError(f"images: {len(images)} numbers for {len(probabilities)} images")
        self.num_images += len(probabilities)
        predicted = (probabilities > self.threshold).astype(np.uint8)
        for b, number in enumerate(images):
            for d in range(self.num_defects):
                if predicted[b, d].any() or target[b, d].any():
                    found = self._matched(probabilities[b, d], predicted[b, d], target[b, d], int(number))
                    self.found[d].append(found)

    def _matched(
        self, probability: np.ndarray, predicted: np.ndarray, target: np.ndarray, number: int
    ) -> MatchedRegions:
        """The regions of image `number` and one defect."""
        found = region_overlaps(predicted, target, self.min_area)
        confidence = np.bincount(found.region, probability.ravel()[found.pixels]) / found.area
        targets = matched_targets(confidence, found.p, found.t, found.iou, self.iou_thresholds)
        easiest = targets[:, np.argmin(self.iou_thresholds)]
        found_at = np.full(found.num_targets, -np.inf)
        found_at[easiest[easiest >= 0]] = confidence[easiest >= 0]
        image = np.full(len(confidence), number, dtype=np.int64)
        return MatchedRegions(confidence, targets >= 0, image, found.target_area / target.size, found_at)

    def add_others(self, concatenated: Callable[[np.ndarray], np.ndarray]) -> None:
        """Go on with what all processes have seen. concatenated: the rows of an array that they have."""
        for d in range(self.num_defects):
            mine = self.regions(d)
            parts = (concatenated(getattr(mine, f.name)) for f in fields(mine))
            self.found[d] = [MatchedRegions(*parts)]

    def regions(self, d: int) -> MatchedRegions:
        """The regions of defect `d` in everything added so far, in no particular order."""
        self.found[d] = [MatchedRegions.together(self.found[d])]
        return self.found[d][0]

    def compute(self) -> RegionAP:
        """Average precision over everything added so far; more can be added afterwards."""
        shape = (self.num_defects, len(self.iou_thresholds))
        ap, targets, predictions = np.full(shape, np.nan), *np.zeros((2, self.num_defects), dtype=np.int64)
        for d in range(self.num_defects):
            found = self.regions(d)
            targets[d], predictions[d] = len(found.found_at), len(found.confidence)
            if targets[d]:
                ap[d] = [average_precision(found.confidence, m, int(targets[d])) for m in found.matched.T]
        return RegionAP(ap.mean(axis=1), ap, targets, predictions)


def match(
    confidence: np.ndarray, p: np.ndarray, t: np.ndarray, iou: np.ndarray, iou_thresholds: np.ndarray
) -> np.ndarray:
    """(P, T) bool: whether each predicted region of an image finds a free target region; see
    `matched_targets`."""
    return matched_targets(confidence, p, t, iou, iou_thresholds) >= 0


def matched_targets(
    confidence: np.ndarray, p: np.ndarray, t: np.ndarray, iou: np.ndarray, iou_thresholds: np.ndarray
) -> np.ndarray:
    """(P, T) int64: the target region that each predicted region of an image finds, greedily; -1 for none.

    confidence: (P,). p, t, iou: one entry per overlapping pair, the index of the predicted region, any
    number from 0 on that names the target region, and their IoU in (0, 1].
    """
    matched = np.full((len(confidence), len(iou_thresholds)), -1, dtype=np.int64)
    best = np.zeros(len(confidence))
    np.maximum.at(best, p, iou)
    close = iou >= iou_thresholds.min()  # all other pairs match at no threshold
    p, t, iou = p[close], t[close], iou[close]
    order = np.lexsort((t, -iou, p, -best[p], -confidence[p]))  # the last key sorts first
    for k, threshold in enumerate(iou_thresholds):
        taken: set[int] = set()
        reaching = order[iou[order] >= threshold]
        for region, target in zip(p[reaching].tolist(), t[reaching].tolist(), strict=True):
            if target not in taken and matched[region, k] < 0:
                matched[region, k] = target
                taken.add(target)
    return matched


def average_precision(confidence: np.ndarray, correct: np.ndarray, num_targets: int) -> float:
    """Area under the interpolated precision-recall curve, in [0, 1].

    Each point's precision is the largest at its recall or beyond (PASCAL VOC from 2010 on, all points).
    confidence: (P,); correct: (P,) bool; num_targets: at least 1. Predictions of equal confidence are one
    operating point, so that their order does not matter.
    """
    if not len(confidence):
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    confidence, found = confidence[order], np.cumsum(correct[order])
    ends = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    precision = found[ends] / (ends + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = found[ends] / num_targets
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def mean_over_defects(values: np.ndarray) -> float:
    """Mean of the values (D,) that are not NaN; NaN if there is none."""
    values = np.asarray(values, dtype=np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
