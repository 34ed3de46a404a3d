"""Where annotation and prediction disagree, and how much that says against the annotation.

Where they do, the annotation is wrong or, nearly always, the model is. How often is known from the regions on
which both agree: a find of a model whose finds are mostly annotated ones weighs more than one of a model that
sees defects everywhere, and its silence weighs more if it misses few.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

MISSING, SPURIOUS, BORDER, WRONG_DEFECT = "missing", "spurious", "border", "wrong defect"
CONTRADICTION = "contradiction"
KINDS = (MISSING, SPURIOUS, BORDER, WRONG_DEFECT, CONTRADICTION)
"""A defect that is not annotated; an annotated one that is none; one whose annotation is much larger, smaller
or beside it; one that is called another; one that is annotated in another photograph of the same part."""


@dataclass(frozen=True)
class Suspect:
    """One region whose annotation may be wrong.

    image: its number. defect: by number, as it should be by the prediction; for a wrong defect, `annotated`
    is what it is called. score: in [0, 1], how sure the model is in the mean of the disputed pixels, times
    how often such a suspicion is to be expected right, see `ranked`. box: (left, top, width, height) in
    pixels of the model's images. pixels: how many are disputed. other: of a contradiction, the number of the
    other photograph.
    """

    image: int
    defect: int
    kind: str
    score: float
    box: tuple[int, int, int, int]
    pixels: int
    annotated: int | None = None
    other: int | None = None


@dataclass(frozen=True)
class Regions:
    """What one image says of one defect.

    suspects: disagreements, scored by how sure the model is alone. agreed: confidences (n,) of the predicted
    regions that are annotated; annotated, found: annotated regions, and those of them that are predicted.
    """

    suspects: list[Suspect]
    agreed: list[float]
    annotated: int
    found: int


def compare(
    image: int,
    probabilities: np.ndarray,
    masks: np.ndarray,
    threshold: float = 0.5,
    min_area: int = 4,
    min_overlap: float = 0.3,
) -> list[Regions]:
    """What image number `image` says of each of D defects.

    probabilities: (H, W, D) in [0, 1]. masks: (H, W, D) uint8, 0, 1 or VOID, of which nothing is said.
    A region is an 8-connected zone; a predicted one has at least `threshold` and `min_area` pixels, and
    finds an annotated one if they overlap at all, but with an intersection over union below `min_overlap`
    the border is disputed.
    """
    known = masks <= 1
    predicted = (probabilities >= threshold) & known
    annotated = masks == 1
    return [
        _of_defect(image, d, probabilities, predicted, annotated, min_area, min_overlap)
        for d in range(masks.shape[2])
    ]


def _of_defect(
    image: int,
    d: int,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    annotated: np.ndarray,
    min_area: int,
    min_overlap: float,
) -> Regions:
    p, mask = probabilities[:, :, d], annotated[:, :, d]
    finds = [zone for zone in _zones(predicted[:, :, d]) if zone.sum() >= min_area]
    agreed, suspects = [], []
    for zone in finds:
        if (zone & mask).any():
            agreed.append(float(p[zone].mean()))
        elif not _agreed_as_another(zone, d, predicted, annotated):
            called = _called_otherwise(zone, d, predicted, annotated)
            kind = MISSING if called is None else WRONG_DEFECT
            suspects.append(_suspect(image, d, kind, zone, float(p[zone].mean()), called))
    zones = list(_zones(mask))
    everything = np.logical_or.reduce(finds) if finds else np.zeros_like(mask)
    for zone in zones:
        touching = [find for find in finds if (find & zone).any()]
        if not touching:
            if not _found_as_another(zone, d, predicted, annotated):
                suspects.append(_suspect(image, d, SPURIOUS, zone, float(1 - p[zone].mean())))
            continue
        find = np.logical_or.reduce(touching)
        together = np.logical_or.reduce([other for other in zones if (find & other).any()])
        overlap = (find & together).sum() / (find | together).sum()
        if overlap < min_overlap:
            disputed = find ^ together
            wrong = np.where(together, 1 - p, p)[disputed].mean()
            suspects.append(_suspect(image, d, BORDER, find | together, float(wrong * (1 - overlap))))
    found = sum(bool((zone & everything).any()) for zone in zones)
    return Regions(_once(suspects), agreed, len(zones), found)


def _agreed_as_another(zone: np.ndarray, d: int, predicted: np.ndarray, annotated: np.ndarray) -> bool:
    """Whether most of it is annotated and predicted as another defect: the model sees two in one place, and
    one of them is what the annotation says."""
    others = [other for other in range(annotated.shape[2]) if other != d]
    both = [zone & annotated[:, :, other] & predicted[:, :, other] for other in others]
    return any(there.sum() >= zone.sum() / 2 for there in both)


def _called_otherwise(zone: np.ndarray, d: int, predicted: np.ndarray, annotated: np.ndarray) -> int | None:
    """The defect as which the zone is annotated, and not predicted; None if there is none."""
    for other in range(annotated.shape[2]):
        there = zone & annotated[:, :, other]
        if other != d and there.sum() >= zone.sum() / 2 and not (there & predicted[:, :, other]).any():
            return other
    return None


def _found_as_another(zone: np.ndarray, d: int, predicted: np.ndarray, annotated: np.ndarray) -> bool:
    """Whether it is predicted as a defect that is not annotated there: reported as a wrong defect."""
    return any(
        (zone & predicted[:, :, other]).any() and not (zone & annotated[:, :, other]).any()
        for other in range(annotated.shape[2])
        if other != d
    )


def _zones(mask: np.ndarray) -> Iterator[np.ndarray]:
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return (numbers == k for k in range(1, count))


def _suspect(
    image: int, d: int, kind: str, zone: np.ndarray, score: float, annotated: int | None = None
) -> Suspect:
    return Suspect(image, d, kind, score, box_of(zone), int(zone.sum()), annotated)


def box_of(zone: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a zone (H, W) bool that is not empty."""
    left, top, width, height = cv2.boundingRect(zone.astype(np.uint8))
    return left, top, width, height


def _once(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Several annotated regions that one find touches dispute the same border."""
    return list({(s.kind, s.box): s for s in suspects}.values())


def ranked(images: Iterable[Sequence[Regions]], wrong_share: float = 0.05) -> list[Suspect]:
    """All suspects, the most suspicious first; ties by image.

    images: of each image what `compare` says of each of D defects. wrong_share: of all annotations that are
    to be expected wrong, in each way; it sets the scale of the scores and no more, as long as none reaches 1.
    A score is how sure the model is times the expected number of such mistakes per such suspicion, at most 1:
    of a find, those of at least its confidence that are annotated, times the share, over those that are not;
    of silence, and of a find of another extent, the annotated regions times the share, over those on which
    the model is silent, or draws another extent. So suspicions come last of a model that is often wrong.
    """
    columns = list(zip(*images, strict=True))
    found = [suspect for column in columns for suspect in _weighed(column, wrong_share)]
    return sorted(found, key=lambda suspect: (-suspect.score, suspect.image, suspect.box))


def _weighed(column: Sequence[Regions], wrong_share: float) -> Iterator[Suspect]:
    """The suspects of one defect over all images."""
    suspects = [suspect for regions in column for suspect in regions.suspects]
    annotated = sum(regions.annotated for regions in column)
    agreed = np.sort([confidence for regions in column for confidence in regions.agreed])
    new = np.sort([s.score for s in suspects if s.kind in (MISSING, WRONG_DEFECT)])
    for suspect in suspects:
        if suspect.kind in (MISSING, WRONG_DEFECT):
            right, others = (len(v) - int(np.searchsorted(v, suspect.score)) for v in (agreed, new))
        else:
            right, others = annotated, sum(s.kind == suspect.kind for s in suspects)
        expected = wrong_share * (right + 1) / (others + 1)  # + 1: of what is nowhere, nothing is known
        yield replace(suspect, score=float(suspect.score * min(1.0, expected)))
