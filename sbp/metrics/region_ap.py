"""Region-level average precision: is each defect found, and roughly where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class RegionAP:
    """ap: (D,) mean over IoU thresholds, NaN for a defect without target regions.

    ap_per_threshold: (D, T). num_targets, num_predictions: (D,) regions seen.
    """

    ap: np.ndarray
    ap_per_threshold: np.ndarray
    num_targets: np.ndarray
    num_predictions: np.ndarray


class RegionAveragePrecision:
    """Average precision over connected regions, in the manner of COCO.

    A predicted region is an 8-connected zone of probability above `threshold` with at least `min_area`
    pixels; its confidence is its mean probability. In descending confidence it is matched to the still
    free target region of the same image with the largest mask IoU, if that reaches the IoU threshold.
    """

    def __init__(
        self,
        num_defects: int,
        iou_thresholds: Sequence[float] = (0.10, 0.20, 0.30, 0.40, 0.50),
        threshold: float = 0.5,
        min_area: int = 1,
    ):
        if num_defects < 1 or not iou_thresholds or min_area < 1:
            raise ValueError("num_defects, the number of iou_thresholds and min_area must be at least 1")
        self.iou_thresholds = np.asarray(iou_thresholds, dtype=np.float64)
        self.num_defects, self.threshold, self.min_area = num_defects, threshold, min_area
        self.targets = np.zeros(num_defects, dtype=np.int64)
        self.confidences: list[list[np.ndarray]] = [[] for _ in range(num_defects)]
        self.matches: list[list[np.ndarray]] = [[] for _ in range(num_defects)]

    def update(self, probabilities, target) -> None:
        """Add a batch of arrays or tensors: probabilities (B, D, H, W) in [0, 1], target in {0, 1}."""
        probabilities = np.ascontiguousarray(probabilities, dtype=np.float32)
        target = np.ascontiguousarray(np.asarray(target) > 0, dtype=np.uint8)
        predicted = (probabilities > self.threshold).astype(np.uint8)
        for image in range(len(probabilities)):
            for d in range(self.num_defects):
                if predicted[image, d].any() or target[image, d].any():
                    self._add(d, probabilities[image, d], predicted[image, d], target[image, d])

    def _add(self, d: int, probability: np.ndarray, predicted: np.ndarray, target: np.ndarray) -> None:
        num_targets, target_labels = cv2.connectedComponents(target, connectivity=8)
        num_regions, labels = cv2.connectedComponents(predicted, connectivity=8)
        self.targets[d] += num_targets - 1
        area = np.bincount(labels.ravel(), minlength=num_regions)
        kept = np.flatnonzero(area[1:] >= self.min_area) + 1
        if not len(kept):
            return
        mass = np.bincount(labels.ravel(), probability.ravel(), minlength=num_regions)
        confidence = mass[kept] / area[kept]
        order = np.argsort(-confidence, kind="stable")
        overlap = np.bincount(
            labels.ravel() * num_targets + target_labels.ravel(), minlength=num_regions * num_targets
        ).reshape(num_regions, num_targets)[kept[order], 1:]
        target_area = np.bincount(target_labels.ravel(), minlength=num_targets)[1:]
        iou = overlap / (area[kept[order], None] + target_area[None] - overlap)
        self.confidences[d].append(confidence[order])
        self.matches[d].append(self._match(iou))

    def _match(self, iou: np.ndarray) -> np.ndarray:
        """(P, T) bool, whether each predicted region, surest first, finds a free target region."""
        matched = np.zeros((len(iou), len(self.iou_thresholds)), dtype=bool)
        touching = np.flatnonzero(iou.any(axis=1))  # all others are false alarms at every threshold
        for t, threshold in enumerate(self.iou_thresholds):
            free = np.ones(iou.shape[1], dtype=bool)
            for p in touching:
                candidates = np.where(free, iou[p], -1.0)
                best = int(candidates.argmax())
                if candidates[best] >= threshold:
                    matched[p, t], free[best] = True, False
        return matched

    def compute(self) -> RegionAP:
        """Average precision over everything added so far."""
        shape = (self.num_defects, len(self.iou_thresholds))
        ap, predictions = np.full(shape, np.nan), np.zeros(self.num_defects, dtype=np.int64)
        for d in range(self.num_defects):
            if self.confidences[d]:
                confidence = np.concatenate(self.confidences[d])
                matched = np.concatenate(self.matches[d])
            else:
                confidence, matched = np.empty(0), np.empty((0, shape[1]), dtype=bool)
            predictions[d] = len(confidence)
            if self.targets[d]:
                ap[d] = [average_precision(confidence, m, int(self.targets[d])) for m in matched.T]
        return RegionAP(ap.mean(axis=1), ap, self.targets.copy(), predictions)


def average_precision(confidence: np.ndarray, correct: np.ndarray, num_targets: int) -> float:
    """Area under the interpolated precision-recall curve of predictions (P,), `correct` bool.

    Predictions of equal confidence are one operating point, so that their order does not matter.
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
    """Mean of the values that are not NaN; NaN if there is none."""
    values = np.asarray(values, dtype=np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
