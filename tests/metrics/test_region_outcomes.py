"""What became of each region, on masks drawn by hand."""

import numpy as np
import pytest

from sbp.metrics import (
    RegionAveragePrecision,
    RegionOutcomes,
    predicted_regions,
    region_outcomes,
    unannotated,
)

SIZE = 24
# three squares of 16 pixels, far apart
A, B, C = ((slice(y, y + 4), slice(x, x + 4)) for y, x in ((2, 2), (2, 16), (16, 2)))


def mask(*places: tuple) -> np.ndarray:
    """(1, 24, 24) zeros with ones at the places."""
    drawn = np.zeros((1, SIZE, SIZE), np.uint8)
    for place in places:
        drawn[(0, *place)] = 1
    return drawn


@pytest.mark.parametrize(
    ("predicted", "annotated", "clean", "expected", "words"),
    [
        pytest.param([A], [A], [A], RegionOutcomes(hits=1), "hit", id="hit"),
        pytest.param([], [A], [A], RegionOutcomes(misses=1), "miss", id="miss"),
        pytest.param([A], [], [], RegionOutcomes(false_alarms=1), "false alarm", id="false alarm"),
        pytest.param(
            [A], [], [A], RegionOutcomes(missing_annotations=1), "missing annotation", id="missing annotation"
        ),
        pytest.param([], [], [], RegionOutcomes(), "no alarm", id="nothing to judge"),
        pytest.param([], [], [A], RegionOutcomes(), "no alarm", id="a fault of the annotation alone"),
        pytest.param([A], [A, B], [A, B], RegionOutcomes(1, 1), "hit + miss", id="one of two"),
        pytest.param([A, B], [A, B], [A, B], RegionOutcomes(2), "2 hits", id="both"),
        pytest.param([C], [A, B], [A, B], RegionOutcomes(0, 2, 1), "2 misses + false alarm", id="elsewhere"),
        pytest.param(
            [A, B, C],
            [A],
            [A, B],
            RegionOutcomes(1, 0, 1, 1),
            "hit + false alarm + missing annotation",
            id="mix",
        ),
        pytest.param(
            [B, C],
            [A],
            [A, B, C],
            RegionOutcomes(0, 1, 0, 2),
            "miss + 2 missing annotations",
            id="two missing",
        ),
    ],
)
def test_outcomes_of_one_defect(predicted, annotated, clean, expected, words):
    outcomes = region_outcomes(mask(*predicted), mask(*annotated), mask(*clean))
    assert outcomes == expected
    assert outcomes.words() == words


def test_without_clean_masks_no_annotation_is_missing():
    assert region_outcomes(mask(A, B), mask(A), None) == RegionOutcomes(hits=1, false_alarms=1)


def test_defects_are_judged_apart_and_counted_together():
    """A, the second defect, is taken for the first; B, the first, is found; C, the second, has no mark."""
    predicted = np.concatenate([mask(A, B), mask(C)])
    annotation = np.concatenate([mask(B), mask(A)])
    clean = np.concatenate([mask(B), mask(A, C)])
    found = region_outcomes(predicted, annotation, clean)
    assert found == RegionOutcomes(hits=1, misses=1, false_alarms=1, missing_annotations=1)
    assert region_outcomes(predicted[::-1], annotation, clean) == RegionOutcomes(
        hits=1, misses=1, false_alarms=2
    )


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.25, RegionOutcomes(hits=1)), (0.26, RegionOutcomes(misses=1, false_alarms=1))],
)
def test_a_region_is_found_from_the_threshold_on(threshold, expected):
    quarter = (slice(2, 4), slice(2, 4))  # 4 of A's 16 pixels
    assert region_outcomes(mask(quarter), mask(A), iou_threshold=threshold) == expected
    # the same holds for what the annotation lacks
    lacking = region_outcomes(mask(quarter), mask(), mask(A), threshold)
    assert lacking == RegionOutcomes(missing_annotations=expected.hits, false_alarms=expected.false_alarms)


def test_a_defect_found_in_two_pieces_is_one_hit_and_a_region_over_two_is_two():
    whole, left, right = ((slice(2, 6), x) for x in (slice(2, 14), slice(2, 7), slice(9, 14)))
    assert region_outcomes(mask(left, right), mask(whole), mask(whole)) == RegionOutcomes(hits=1)
    assert region_outcomes(mask(whole), mask(left, right), mask(left, right)) == RegionOutcomes(hits=2)


def test_diagonal_pixels_are_one_region():
    steps = [(k, k) for k in range(5)]
    assert region_outcomes(mask(*steps), mask()) == RegionOutcomes(false_alarms=1)


def test_the_border_of_a_coarse_annotation_is_not_missing():
    """A clean mask that sticks out by two pixels is annotated; what a second defect adds to it is not."""
    annotated = mask((slice(4, 10), slice(4, 10)))
    shifted = mask((slice(4, 10), slice(6, 12)))
    assert not unannotated(annotated, shifted).any()
    sliver = (slice(4, 10), slice(10, 12))
    assert region_outcomes(mask(sliver), annotated, shifted, 0.5) == RegionOutcomes(misses=1, false_alarms=1)
    crossing = (slice(6, 8), slice(6, 22))  # touches the annotated one: one zone of the clean mask
    lacking = unannotated(annotated, shifted | mask(crossing))
    assert np.array_equal(lacking, mask((slice(6, 8), slice(12, 22))))
    found = region_outcomes(mask((slice(6, 8), slice(14, 22))), annotated, shifted | mask(crossing))
    assert found == RegionOutcomes(misses=1, missing_annotations=1)


class TestPredictedRegions:
    probabilities = np.zeros((2, SIZE, SIZE), np.float32)
    probabilities[(0, *A)] = 0.3
    probabilities[0, 20, 20:23] = 0.9  # three pixels
    probabilities[(1, *B)] = 0.5

    def test_above_the_threshold_and_large_enough(self):
        assert np.array_equal(
            predicted_regions(self.probabilities, 0.1, 4), np.concatenate([mask(A), mask(B)])
        )
        small = predicted_regions(self.probabilities, 0.1, 3)
        assert small[0, 20].sum() == 3
        assert not predicted_regions(self.probabilities, 0.5, 4).any()  # the threshold itself is not above it

    @pytest.mark.parametrize(("threshold", "min_area"), [(0.1, 1), (0.1, 4), (0.4, 1), (0.4, 4)])
    def test_there_are_as_many_as_average_precision_counts(self, threshold, min_area):
        metric = RegionAveragePrecision(2, threshold=threshold, min_area=min_area)
        metric.update(self.probabilities[None], np.zeros((1, 2, SIZE, SIZE)))
        regions = predicted_regions(self.probabilities, threshold, min_area)
        outcomes = region_outcomes(regions, np.zeros_like(regions))
        assert outcomes.false_alarms == metric.compute().num_predictions.sum()


def test_rejections():
    with pytest.raises(ValueError, match=r"must be the same \(D, H, W\)"):
        region_outcomes(mask(A), mask(A)[:, :5])
    with pytest.raises(ValueError, match=r"must be the same \(D, H, W\)"):
        region_outcomes(mask(A), mask(A), np.concatenate([mask(A), mask(A)]))
    with pytest.raises(ValueError, match=r"iou_threshold=0: must lie in \(0, 1\]"):
        region_outcomes(mask(A), mask(A), iou_threshold=0)
