"""Where annotation and prediction disagree, on pictures drawn by hand."""

import numpy as np
import pytest

from sbp.review import compare, ranked
from sbp.review.proposals import proposed

SIDE = 24
UPPER, LOWER = (slice(2, 8), slice(2, 8)), (slice(14, 20), slice(12, 20))


def maps(*, annotated=(), predicted=(), defects: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and masks (24, 24, 2): annotated, (place, defect); predicted, (place, defect, p)."""
    masks = np.zeros((SIDE, SIDE, defects), np.uint8)
    for place, d in annotated:
        masks[(*place, d)] = 1
    probabilities = np.full((SIDE, SIDE, defects), 0.02, np.float32)
    for place, d, p in predicted:
        probabilities[(*place, d)] = p
    return probabilities, masks


def found(**drawn):
    return [suspect for regions in compare(7, *maps(**drawn)) for suspect in regions.suspects]


def test_agreement_is_not_suspect():
    first, second = compare(7, *maps(annotated=[(UPPER, 0)], predicted=[(UPPER, 0, 0.9)]))
    assert not first.suspects
    assert not second.suspects
    assert (first.annotated, first.found) == (1, 1)
    assert first.agreed == [pytest.approx(0.9)]


def test_a_find_without_annotation_is_a_missing_one():
    (suspect,) = found(predicted=[(UPPER, 1, 0.9)])
    assert (suspect.image, suspect.kind, suspect.defect, suspect.pixels) == (7, "missing", 1, 36)
    assert suspect.box == (2, 2, 6, 6)
    assert suspect.score == pytest.approx(0.9)


def test_an_annotation_where_nothing_is_found_is_spurious():
    (suspect,) = found(annotated=[(LOWER, 0)])
    assert (suspect.kind, suspect.box) == ("spurious", (12, 14, 8, 6))
    assert suspect.score == pytest.approx(0.98)


def test_a_find_of_what_is_annotated_as_another_defect_is_one_suspicion():
    (suspect,) = found(annotated=[(UPPER, 0)], predicted=[(UPPER, 1, 0.8)])
    assert (suspect.kind, suspect.defect, suspect.annotated) == ("wrong defect", 1, 0)


def test_a_second_defect_where_the_annotated_one_is_found_is_not_suspect():
    assert not found(annotated=[(UPPER, 0)], predicted=[(UPPER, 0, 0.7), (UPPER, 1, 0.9)])


def test_an_annotation_much_larger_than_the_find_is_a_border():
    part = (slice(2, 4), slice(2, 5))
    (suspect,) = found(annotated=[(UPPER, 0)], predicted=[(part, 0, 0.9)])
    assert suspect.kind == "border"
    assert suspect.box == (2, 2, 6, 6)
    assert suspect.score == pytest.approx(0.98 * (1 - 6 / 36), abs=0.01)
    most = (slice(2, 8), slice(2, 7))
    assert not found(annotated=[(UPPER, 0)], predicted=[(most, 0, 0.9)])  # borders are never exact


def test_pixels_of_which_nothing_is_said_are_not_suspect():
    probabilities, masks = maps(predicted=[(UPPER, 0, 0.9)])
    masks[UPPER] = 255
    assert not any(regions.suspects for regions in compare(0, probabilities, masks))


def test_specks_are_not_suspect():
    assert not found(predicted=[((slice(2, 3), slice(2, 5)), 0, 0.9)])


def test_a_model_that_is_often_right_is_believed_more():
    """Defect 0 is found wherever it is annotated, defect 1 in half of the cases, and elsewhere."""
    right = compare(0, *maps(annotated=[(UPPER, 0)], predicted=[(UPPER, 0, 0.95)]))
    missed = compare(1, *maps(annotated=[(UPPER, 1)]))
    false = compare(2, *maps(predicted=[(UPPER, 1, 0.9)]))
    new = compare(3, *maps(predicted=[(LOWER, 0, 0.9)]))
    silent = compare(4, *maps(annotated=[(LOWER, 0)]))
    suspects = ranked([*[right] * 8, *[missed] * 4, *[false] * 4, new, silent])
    assert [(s.kind, s.defect) for s in suspects[:2]] == [("spurious", 0), ("missing", 0)]
    # of 9 annotated ones a twentieth is expected wrong, and there is one silence; 8 of 9 such finds are right
    assert suspects[0].score == pytest.approx(0.98 * 0.05 * 10 / 2)
    assert suspects[1].score == pytest.approx(0.9 * 0.05 * 9 / 2)
    assert all(s.defect == 1 and s.score < 0.06 for s in suspects[2:])  # none of 4 found, no find right


def test_a_model_that_misses_many_is_not_believed_when_it_is_silent():
    """A third is missed: so the model is. One find among many that are annotated is another thing."""
    right = compare(0, *maps(annotated=[(UPPER, 0)], predicted=[(UPPER, 0, 0.95)]))
    missed = compare(1, *maps(annotated=[(LOWER, 0)]))
    new = compare(2, *maps(predicted=[(LOWER, 0, 0.9)]))
    suspects = ranked([*[right] * 20, *[missed] * 10, new])
    assert suspects[0].kind == "missing"
    assert suspects[0].score > 2 * suspects[1].score


def test_a_proposal_is_the_annotation_with_what_is_disputed_as_predicted():
    part = (slice(14, 16), slice(12, 15))
    cases = {
        "missing": maps(annotated=[(LOWER, 1)], predicted=[(UPPER, 0, 0.9), (LOWER, 1, 0.9)]),
        "spurious": maps(annotated=[(UPPER, 0), (LOWER, 0)], predicted=[(LOWER, 0, 0.9)]),
        "wrong defect": maps(annotated=[(UPPER, 0)], predicted=[(UPPER, 1, 0.9)]),
        "border": maps(annotated=[(LOWER, 0)], predicted=[(part, 0, 0.9)]),
    }
    for kind, (probabilities, masks) in cases.items():
        suspects = [s for regions in compare(0, probabilities, masks) for s in regions.suspects]
        assert [s.kind for s in suspects] == [kind]
        changed = proposed(masks, probabilities, suspects)
        np.testing.assert_array_equal(changed, probabilities > 0.5, err_msg=kind)
        np.testing.assert_array_equal(proposed(masks, probabilities, []), masks == 1)
