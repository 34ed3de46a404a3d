"""False alarms at a fixed recall, and recall by size, against cases counted by hand."""

import math

import numpy as np
import pytest

from sbp.metrics import ImageGroups, RegionAveragePrecision, lowest_of_defects, operating_metrics
from sbp.metrics.operating_points import (
    SIZE_BOUNDS,
    false_regions_at,
    recall_at,
    recall_by_size,
    threshold_for,
)

SIDE = 16
A, B = (slice(0, 4), slice(0, 4)), (slice(8, 12), slice(8, 12))  # far apart
C, D = (slice(0, 4), slice(8, 12)), (slice(8, 12), slice(0, 4))


def drawn(*places: tuple) -> np.ndarray:
    """(1, 16, 16): zeros with `(place, value)` drawn in."""
    image = np.zeros((1, SIDE, SIDE), dtype=np.float32)
    for place, value in places:
        image[(0, *place)] = value
    return image


IMAGES = [  # predicted, annotated
    ([(A, 0.9), (B, 0.6)], [(A, 1), (B, 1)]),  # both found
    ([(A, 0.8), (C, 0.95)], [(A, 1), (B, 1)]),  # one found, one missed, one region where nothing is
    ([(A, 0.4)], [(A, 1)]),  # found, but unsure
    ([(C, 0.85)], []),  # healthy
    ([(A, 0.7), (B, 0.5)], []),  # healthy, a look-alike
    ([], []),  # healthy, a look-alike
    ([(D, 0.3)], []),  # healthy
]
HEALTHY = np.array([False] * 3 + [True] * 4)
LOOKALIKE = np.array([False] * 4 + [True, True, False])
GROUPS = ImageGroups(HEALTHY, LOOKALIKE)


def metric_of(images=IMAGES, **settings) -> RegionAveragePrecision:
    metric = RegionAveragePrecision(1, **{"threshold": 0.1, **settings})
    for predicted, annotated in images:
        metric.update(drawn(*predicted)[None], drawn(*annotated)[None])
    return metric


def metrics_of(images=IMAGES, groups=GROUPS, **settings) -> dict[str, float]:
    values = operating_metrics([metric_of(images, **settings).regions(0)], groups)
    return {name: float(value) for name, (value,) in values.items()}


def test_false_regions_at_fixed_recall_counted_by_hand():
    """Five annotated regions, found from 0.9, 0.8, 0.6, 0.4 on, and never. Recall 0.5 takes three of them:
    0.6 is the threshold, above which four healthy images have regions of 0.85 and 0.7. Recall 0.8 takes four:
    0.4, and three regions. Of these, the two look-alikes have one and two."""
    values = metrics_of()
    assert values["threshold/r50"] == pytest.approx(0.6)
    assert values["false_regions/r50"] == pytest.approx(2 / 4)
    assert values["lookalike_false_regions/r50"] == pytest.approx(1 / 2)
    assert values["threshold/r80"] == pytest.approx(0.4)
    assert values["false_regions/r80"] == pytest.approx(3 / 4)
    assert values["lookalike_false_regions/r80"] == pytest.approx(2 / 2)
    assert values["max_recall"] == pytest.approx(4 / 5)


def test_a_recall_that_is_never_reached_takes_infinitely_many_false_regions_and_has_no_threshold():
    images = [*IMAGES, ([], [(A, 1)])]  # four of six
    values = metrics_of(images, ImageGroups(np.append(HEALTHY, False), np.append(LOOKALIKE, False)))
    assert values["max_recall"] == pytest.approx(4 / 6)
    assert math.isnan(values["threshold/r80"])
    assert values["false_regions/r80"] == values["lookalike_false_regions/r80"] == math.inf
    assert values["false_regions/r50"] == pytest.approx(2 / 4)  # as before: three of six


def test_a_threshold_counts_regions_of_just_that_confidence():
    """The tied region on the healthy image comes with the one that is needed."""
    values = metrics_of(
        [([(A, 0.5)], [(A, 1)]), ([(B, 0.5)], [])],
        ImageGroups(np.array([False, True]), np.array([False, False])),
    )
    assert values["threshold/r80"] == 0.5
    assert values["false_regions/r80"] == 1.0


def test_a_perfect_model_has_no_false_region():
    values = metrics_of(
        [([(A, 1.0)], [(A, 1)]), ([], [])], ImageGroups(np.array([False, True]), np.zeros(2, bool))
    )
    assert values["false_regions/r50"] == values["false_regions/r80"] == 0.0


def test_what_cannot_be_measured_is_unknown_neither_zero_nor_infinite():
    """No defect of that kind; no healthy image; and no look-alikes, which leave no entry."""
    nothing = metrics_of([([(A, 0.5)], [])], ImageGroups(np.array([True]), np.array([False])))
    assert "lookalike_false_regions/r50" not in nothing
    assert all(math.isnan(value) for value in nothing.values())
    no_healthy = metrics_of([([], [(A, 1)])], ImageGroups(np.array([False]), np.array([False])))
    assert math.isnan(no_healthy["false_regions/r80"])
    assert no_healthy["max_recall"] == 0.0
    assert math.isnan(lowest_of_defects(np.array([math.nan])))
    assert lowest_of_defects(np.array([math.nan, 0.7, 0.4])) == 0.4


def test_a_hit_is_one_of_the_lowest_iou_threshold():
    """A quarter of the annotated square: IoU 0.25."""
    images = [([((slice(0, 2), slice(0, 2)), 0.9)], [(A, 1)])]
    groups = ImageGroups(np.array([False]), np.array([False]))
    assert metrics_of(images, groups, iou_thresholds=(0.5, 0.1))["max_recall"] == 1.0
    assert metrics_of(images, groups, iou_thresholds=(0.3, 0.5))["max_recall"] == 0.0


def test_two_regions_on_one_defect_find_it_once():
    target = (slice(0, 4), slice(0, 9))
    images = [([((slice(0, 4), slice(0, 4)), 0.9), ((slice(0, 4), slice(5, 9)), 0.8)], [(target, 1), (D, 1)])]
    regions = metric_of(images).regions(0)
    assert recall_at(regions) == 1 / 2
    assert recall_at(regions, 0.85) == 1 / 2
    assert recall_at(regions, 0.95) == 0.0
    assert math.isnan(recall_at(regions, math.nan))  # no threshold


def test_recall_by_size_counts_by_share_of_the_image():
    """Of 96 x 96 pixels: 0.3 % are 27.6 pixels, 3 % are 276.5."""
    assert SIZE_BOUNDS == (0.003, 0.03)
    metric = RegionAveragePrecision(1, threshold=0.1)
    target = np.zeros((1, 1, 96, 96), dtype=np.float32)
    target[0, 0, 0:3, 0:9] = 1  # 27: small
    target[0, 0, 10:14, 0:7] = 1  # 28: medium
    target[0, 0, 20:22, 0:10] = 1  # 20: small
    target[0, 0, 40:60, 0:20] = 1  # 400: large
    predicted = target * 0.9
    predicted[0, 0, 20:22] = 0
    predicted[0, 0, 40:60] *= 0.5
    metric.update(predicted, target)
    regions = metric.regions(0)
    assert recall_by_size(regions) == [(2, 0.5), (1, 1.0), (1, 1.0)]
    assert recall_by_size(regions, 0.8) == [(2, 0.5), (1, 1.0), (1, 0.0)]
    values = operating_metrics([regions], ImageGroups(np.array([False]), np.array([False])))
    assert [values[f"recall/{size}"][0] for size in ("small", "medium", "large")] == [0.5, 1.0, 1.0]


def test_the_recalls_of_all_thresholds_are_those_of_a_plain_count():
    """Against brute force: for every confidence, what lies above is matched again from the start."""
    rng = np.random.default_rng(3)
    images = []
    for _ in range(40):
        places = [p for p in (A, B, C, D) if rng.random() < 0.5]
        annotated = [(p, 1) for p in (A, B, C, D) if rng.random() < 0.3]
        images.append(([(p, float(rng.integers(2, 10)) / 10) for p in places], annotated))
    healthy = np.array([not annotated for _, annotated in images])
    regions = metric_of(images).regions(0)
    for recall in (0.2, 0.5):
        threshold = threshold_for(regions, recall)
        counts = {}
        for t in sorted({value for places, _ in images for _, value in places}, reverse=True):
            kept = [([(p, v) for p, v in places if v >= t], annotated) for places, annotated in images]
            found = sum(p in [q for q, _ in annotated] for places, annotated in kept for p, _ in places)
            alarms = sum(len(places) for (places, annotated) in kept if not annotated)
            counts[t] = (found / sum(len(annotated) for _, annotated in images), alarms / healthy.sum())
        expected = max(t for t, (reached, _) in counts.items() if reached >= recall)
        assert threshold == pytest.approx(expected)
        assert recall_at(regions, threshold) == pytest.approx(counts[expected][0])
        assert false_regions_at(regions, threshold, healthy) == pytest.approx(counts[expected][1])


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 2, 4, 0, 1, 5, 3]])
def test_shared_out_over_processes_it_is_the_same(order):
    """What other processes saw is put behind; image numbers say which image it was."""
    parts = []
    for share in (order[:3], order[3:]):
        metric = RegionAveragePrecision(1, threshold=0.1)
        for number in share:
            predicted, annotated = IMAGES[number]
            metric.update(drawn(*predicted)[None], drawn(*annotated)[None], np.array([number]))
        parts.append(metric)
    others = iter([getattr(parts[1].regions(0), key) for key in vars(parts[1].regions(0))])
    parts[0].add_others(lambda mine: np.concatenate([mine, next(others)]))
    values = operating_metrics([parts[0].regions(0)], GROUPS)
    assert {name: float(value) for name, (value,) in values.items()} == pytest.approx(
        metrics_of(), nan_ok=True
    )


def test_image_numbers_must_be_as_many_as_images():
    with pytest.raises(ValueError, match="2 numbers for 1 images"):
        RegionAveragePrecision(1).update(drawn()[None], drawn()[None], np.array([0, 1]))
