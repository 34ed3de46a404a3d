"""The score book: what is written, what is rejected, what comes back."""

import math

import numpy as np
import pytest

from sbp.selection import NEVER, ScoreBook, score_book


def book_of(*scores: float) -> ScoreBook:
    """A book of one defect with these scores, recorded in epoch 0."""
    book = ScoreBook(len(scores), 1)
    book.record_scores(np.arange(len(scores)), np.array(scores, dtype=float)[None, :, None], 0)
    return book


def arrays(book: ScoreBook) -> dict[str, np.ndarray]:
    """A copy of everything in the book."""
    return {name: getattr(book, name).copy() for name in ScoreBook.ARRAYS}


def assert_unchanged(book: ScoreBook, before: dict[str, np.ndarray]) -> None:
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(book, name), array, err_msg=name)


def test_a_new_book_knows_nothing():
    book = ScoreBook(3, 2, ("max", "mean"))
    assert len(book) == 3
    assert book.scores.shape == (2, 3, 2)
    assert np.isnan(book.scores).all()
    assert book.never_scored.tolist() == [True] * 3
    assert book.scored_at.tolist() == book.trained_at.tolist() == [NEVER] * 3
    assert book.times_selected.tolist() == [0] * 3


@pytest.mark.parametrize(("images", "defects", "schemes"), [(0, 1, ("max",)), (1, 0, ("max",)), (1, 1, ())])
def test_an_empty_book_is_rejected(images, defects, schemes):
    with pytest.raises(ValueError, match="a score book needs images"):
        ScoreBook(images, defects, schemes)


@pytest.mark.parametrize("indices", [[1, 3], [3, 1], [1, 2]], ids=["apart", "descending", "consecutive"])
def test_scores_go_to_their_images_schemes_and_defects(indices):
    book = ScoreBook(5, 2, ("max", "mean"))
    scores = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.1, 0.2], [0.3, 0.4]]])
    book.record_scores(np.array(indices), scores, epoch=7)
    first, second = indices
    np.testing.assert_allclose(book.scores[:, first], [[1.0, 2.0], [0.1, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(book.scores[:, second], [[3.0, 4.0], [0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(book.defect_scores()[second], [3.0, 4.0], rtol=1e-6)
    others = [i for i in range(5) if i not in indices]
    assert book.scored_at[indices].tolist() == [7, 7]
    assert book.never_scored[others].all()
    assert not book.never_scored[indices].any()
    assert np.isnan(book.scores[:, others]).all()


@pytest.mark.parametrize("indices", [[0, 2, 1, 3], [1, 3, 2, 4], [0, 1, 2, 3], [4, 0, 2, 1], [3]])
def test_any_order_of_images_is_written_as_given(indices):
    book = ScoreBook(5, 1)
    book.record_scores(np.array(indices), 10.0 + np.array(indices)[None, :, None], 0)
    expected = [10.0 + i if i in indices else math.nan for i in range(5)]
    np.testing.assert_array_equal(book.scores.ravel(), expected)


def test_the_last_score_of_each_scheme_is_kept():
    book = ScoreBook(2, 2, ("max", "mean"))
    for epoch, score in enumerate([6.0, 2.0, 1.0]):
        scores = np.array([[[score, 10 * score]], [[99.0, 99.0]]])
        book.record_scores(np.array([1]), scores, epoch)
    assert book.scores[:, 1].tolist() == [[1.0, 10.0], [99.0, 99.0]]
    assert book.scored_at.tolist() == [NEVER, 2]


def test_writing_in_chunks_changes_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    whole, chunked = ScoreBook(50, 2, ("max", "mean")), ScoreBook(50, 2, ("max", "mean"))
    for epoch, indices in enumerate([np.arange(50), generator.permutation(50)[:33], np.arange(10, 41)]):
        scores = generator.random((2, len(indices), 2))
        whole.record_scores(indices, scores, epoch)
        with monkeypatch.context() as patch:
            patch.setattr(score_book, "CHUNK", 7)
            chunked.record_scores(indices, scores, epoch)
    assert_unchanged(chunked, arrays(whole))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("scheme", [0, 1])
def test_scores_that_are_not_finite_are_rejected_and_nothing_is_written(bad, scheme):
    book = ScoreBook(6, 2, ("max", "mean"))
    book.record_scores(np.arange(6), np.ones((2, 6, 2)), 0)
    before = arrays(book)
    scores = np.full((2, 4, 2), 5.0)
    scores[scheme, 2, 1] = bad
    with pytest.raises(ValueError, match=r"not finite, images \[5\]"):
        book.record_scores(np.array([1, 2, 5, 4]), scores, 1)
    assert_unchanged(book, before)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_infinities_of_both_signs_do_not_cancel_out():
    book = ScoreBook(2, 1)
    with pytest.raises(ValueError, match=r"not finite, images \[0, 1\]"):
        book.record_scores(np.arange(2), np.array([[[math.inf], [-math.inf]]]), 0)
    assert book.never_scored.all()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_many_half_precision_scores_are_finite():
    book = ScoreBook(20_000, 1)
    book.record_scores(np.arange(20_000), np.full((1, 20_000, 1), 6.0, dtype=np.float16), 0)
    assert (book.scores == 6).all()


def test_training_is_counted_and_dated():
    book = ScoreBook(4, 1)
    book.record_training(np.array([2, 0, 2]), 3)
    book.record_training(np.array([0]), 5)
    assert book.times_selected.tolist() == [2, 0, 2, 0]
    assert book.trained_at.tolist() == [5, NEVER, 3, NEVER]
    assert book.never_scored.all()


def test_image_scores_are_the_largest_of_the_focused_defects():
    book = ScoreBook(3, 3, ("max", "mean"))
    scores = np.array([[[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]], [[9.0, 7.0, 8.0], [0.5, 0.25, 0.125]]])
    book.record_scores(np.array([0, 1]), scores, 0)
    np.testing.assert_array_equal(book.image_scores([0]), np.float32([1, 4, math.nan]))
    np.testing.assert_array_equal(book.image_scores([2]), np.float32([2, 3, math.nan]))
    np.testing.assert_array_equal(book.image_scores([0, 2]), np.float32([2, 4, math.nan]))
    np.testing.assert_array_equal(book.image_scores([2, 1, 0]), np.float32([5, 4, math.nan]))


def test_image_scores_do_not_write_into_the_book():
    book = book_of(1.0, 2.0)
    book.image_scores([0])[:] = 7
    assert book.scores.ravel().tolist() == [1.0, 2.0]


def test_oldest_scores_are_ordered_by_age_then_by_number():
    book = ScoreBook(6, 1)
    for epoch, indices in enumerate([[4], [0, 3], [5]]):
        book.record_scores(np.array(indices), np.ones((1, len(indices), 1)), epoch)
    # ages: 1 and 2 never, 4 in epoch 0, 0 and 3 in epoch 1, 5 in epoch 2
    expected = [[], [1], [1, 2], [1, 2, 4], [0, 1, 2, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]
    assert [book.oldest_scores(count).tolist() for count in range(7)] == expected
    assert book.oldest_scores(100).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.issubdtype(book.oldest_scores(0).dtype, np.integer)


def test_among_many_scores_of_one_age_the_lowest_numbers_come_first():
    generator = np.random.default_rng(2)
    book = ScoreBook(1000, 1)
    for epoch in range(3):
        indices = generator.choice(1000, 400, replace=False)
        book.record_scores(indices, np.ones((1, 400, 1)), epoch)
    ages = book.scored_at.tolist()
    for count in (50, 300, 700):
        expected = sorted(sorted(range(1000), key=lambda image: (ages[image], image))[:count])
        assert book.oldest_scores(count).tolist() == expected


def test_state_dict_round_trip():
    generator = np.random.default_rng(1)
    book = ScoreBook(8, 2, ("max", "mean"))
    book.record_scores(np.array([1, 5, 2]), generator.random((2, 3, 2)), 0)
    book.record_training(np.array([5, 5, 7]), 0)
    book.record_scores(np.array([5, 6]), generator.random((2, 2, 2)), 1)
    restored = ScoreBook(8, 2, ("max", "mean"))
    restored.record_scores(np.array([0]), np.ones((2, 1, 2)), 9)
    restored.load_state_dict(book.state_dict())
    assert_unchanged(restored, arrays(book))
    # a copy: what the restored book learns later does not reach the first
    before = arrays(book)
    restored.record_scores(np.array([3]), np.ones((2, 1, 2)), 2)
    restored.record_training(np.array([3]), 2)
    assert_unchanged(book, before)
    assert restored.scored_at[3] == 2


@pytest.mark.parametrize(
    "other",
    [ScoreBook(3, 2), ScoreBook(4, 1), ScoreBook(4, 2, ("mean",)), ScoreBook(4, 2, ("max", "mean"))],
    ids=["images", "defects", "scheme", "schemes"],
)
def test_a_state_of_another_book_is_rejected(other):
    book = ScoreBook(4, 2)
    book.record_scores(np.arange(4), np.ones((1, 4, 2)), 0)
    before = arrays(book)
    with pytest.raises(ValueError, match="other schemes, images or defects"):
        book.load_state_dict(other.state_dict())
    assert_unchanged(book, before)
