"""What became of each region of an image: found, missed, a false alarm, or found where no annotation is."""

from dataclasses import dataclass

import cv2
import numpy as np

from sbp.metrics.region_ap import region_overlaps
from sbp.metrics.top_losses import WIDTH

NO_ALARM = "no alarm"
"""What is said of an image without any region to judge: nothing annotated, nothing predicted."""


@dataclass(frozen=True)
class RegionOutcomes:
    """How many regions of an image had which outcome, over all defects.

    hits, misses: annotated regions that are found, and that are not; together they are all annotated ones.
    false_alarms, missing_annotations: predicted regions that find no annotated one, where there is no defect,
    and where there is one that the annotation lacks.
    """

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    missing_annotations: int = 0

    def words(self) -> str:
        """In words, for example "hit + 2 false alarms"; NO_ALARM if there was no region."""
        counted = (
            (self.hits, "hit", "hits"),
            (self.misses, "miss", "misses"),
            (self.false_alarms, "false alarm", "false alarms"),
            (self.missing_annotations, "missing annotation", "missing annotations"),
        )
        said = [one if count == 1 else f"{count} {many}" for count, one, many in counted if count]
        return " + ".join(said) or NO_ALARM


def unannotated(annotation: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """What the annotation lacks: the pixels of a defect that no annotated pixel comes within WIDTH pixels of.

    annotation, clean: (D, H, W), 0 or 1, clean without annotation errors. Returns (D, H, W) uint8, 0 or 1.
    """
    square = np.ones((2 * WIDTH + 1,) * 2, dtype=np.uint8)
    lacking = np.empty(clean.shape, dtype=np.uint8)
    for part, annotated, true in zip(lacking, annotation, clean, strict=True):
        part[:] = true & (cv2.dilate(annotated.astype(np.uint8), square) == 0)
    return lacking


def predicted_regions(probabilities: np.ndarray, threshold: float = 0.5, min_area: int = 1) -> np.ndarray:
    """The pixels of the predicted regions, as RegionAveragePrecision takes them.

    probabilities: (D, H, W). A region is an 8-connected zone of probability above `threshold` with at least
    `min_area` pixels. Returns (D, H, W) bool.
    """
    regions = np.zeros(probabilities.shape, dtype=bool)
    for found, zones in zip(regions, (probabilities > threshold).astype(np.uint8), strict=True):
        found.flat[region_overlaps(zones, np.zeros_like(zones), min_area).pixels] = True
    return regions


def region_outcomes(
    predicted: np.ndarray, annotation: np.ndarray, clean: np.ndarray | None = None, iou_threshold: float = 0.1
) -> RegionOutcomes:
    """Judge every predicted and every annotated region of an image, defect by defect.

    A predicted region finds an annotated region of the same defect if their IoU reaches the threshold. Unlike
    for average precision, which counts alarms, several may find the same one: a scratch that is predicted in
    two pieces is a hit without a false alarm. One that finds none is a missing annotation if it finds, by the
    same IoU, a region of what is `unannotated`; else it is a false alarm.

    predicted: (D, H, W), the `predicted_regions`; annotation, clean: likewise, 0 or 1; clean: None where the
    true masks are not known, and then no annotation is missing. iou_threshold: in (0, 1]. Raises ValueError
    for other shapes and thresholds.
    """
    given = [predicted, annotation] if clean is None else [predicted, annotation, clean]
    shapes = [part.shape for part in given]
    if predicted.ndim != 3 or len(set(shapes)) > 1:
        raise ValueError(f"predicted, annotation, clean of shapes {shapes}: must be the same (D, H, W)")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold={iou_threshold}: must lie in (0, 1]")
    lacking = None if clean is None else unannotated(annotation, clean)
    hits = misses = false_alarms = missing = 0
    for d in range(len(predicted)):
        zones, annotated = (mask[d].astype(np.uint8) for mask in (predicted, annotation))
        overlaps = region_overlaps(zones, annotated)
        close = overlaps.iou >= iou_threshold
        found = len(np.unique(overlaps.t[close]))
        hits += found
        misses += overlaps.num_targets - found
        others = np.setdiff1d(np.arange(len(overlaps.area)), overlaps.p[close])
        if lacking is not None:
            overlaps = region_overlaps(zones, lacking[d])
            rightly = np.isin(others, overlaps.p[overlaps.iou >= iou_threshold])
            missing += int(rightly.sum())
            others = others[~rightly]
        false_alarms += len(others)
    return RegionOutcomes(hits, misses, false_alarms, missing)
