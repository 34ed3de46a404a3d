"""Percentiles, keep probabilities and draws against hand-computed cases."""

import importlib
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sbp.selection import beta_for_kept_fraction, draw, keep_probability, percentiles
from sbp.selection.draws import draw_by_score, expected_kept_fraction

quick = settings(max_examples=100, deadline=None, database=None, derandomize=True)
NAN = math.nan

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
few_values = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 3.0, 1e-30, -1e30])
score_arrays = hnp.arrays(np.float32, st.integers(1, 60), elements=st.one_of(numbers, few_values))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], [1.0]),
        ([3.0, 1.0, 2.0, 4.0], [0.75, 0.25, 0.5, 1.0]),
        # two in the middle share ranks 2 and 3
        ([5.0, 1.0, 5.0, 9.0], [0.625, 0.25, 0.625, 1.0]),
        # all equal: the mean rank, (n + 1) / 2n
        ([2.0, 2.0, 2.0, 2.0, 2.0], [0.6, 0.6, 0.6, 0.6, 0.6]),
        # two ties next to each other: ranks 1.5, 1.5, 3.5, 3.5, 5
        ([1.0, 1.0, 2.0, 2.0, 3.0], [0.3, 0.3, 0.7, 0.7, 1.0]),
        ([-1.0, -3.0, 0.0, 2.0], [0.5, 0.25, 0.75, 1.0]),
        ([-0.0, 0.0], [0.75, 0.75]),
        ([-math.inf, 0.0, math.inf, 1.0], [0.25, 0.5, 1.0, 0.75]),
        # never scored gets 1 and is no part of the others' ranking
        ([NAN, 2.0, NAN, 1.0], [1.0, 1.0, 1.0, 0.5]),
        ([NAN, 2.0, 2.0], [1.0, 0.75, 0.75]),
        ([NAN, NAN], [1.0, 1.0]),
        ([], []),
    ],
)
def test_written_out(scores, expected):
    q = percentiles(np.array(scores))
    assert q.dtype == np.float32
    np.testing.assert_allclose(q, expected, rtol=1e-6)


@quick
@given(score_arrays)
def test_equal_average_ranks_of_scipy(scores):
    expected = scipy.stats.rankdata(scores, method="average") / len(scores)
    np.testing.assert_allclose(percentiles(scores), expected, rtol=1e-6)


def test_equal_average_ranks_of_scipy_for_many_scores():
    scores = rng().normal(size=50_000).astype(np.float32)
    scores[::3] = np.round(scores[::3], 2)
    scores[5::7] = 0
    expected = scipy.stats.rankdata(scores, method="average") / len(scores)
    np.testing.assert_allclose(percentiles(scores), expected, rtol=1e-6)


@quick
@given(score_arrays, st.randoms(use_true_random=False))
def test_never_scored_images_do_not_move_the_others(scores, random):
    never = np.array([random.random() < 0.3 for _ in scores])
    known = percentiles(scores[~never])
    q = percentiles(np.where(never, np.float32(NAN), scores))
    assert (q[never] == 1).all()
    assert (q[~never] == known).all()


@quick
@given(hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(-300, 300)))
def test_only_the_order_of_the_scores_counts(integers):
    q = percentiles(integers)
    for transformed in (2.0 * integers + 5, integers.astype(np.float64) ** 3, np.exp(integers / 50)):
        assert (percentiles(transformed) == q).all()


def test_scores_are_left_as_they_were():
    scores = np.array([3.0, NAN, -1.0, 3.0], dtype=np.float32)
    before = scores.copy()
    percentiles(scores)
    np.testing.assert_array_equal(scores, before)


@quick
@given(score_arrays, st.floats(0, 40))
def test_a_higher_loss_is_never_less_likely_to_be_kept(scores, beta):
    order = np.argsort(scores, kind="stable")
    probability = keep_probability(percentiles(scores), beta)[order]
    assert (np.diff(probability) >= 0).all()
    tied = np.diff(scores[order]) == 0
    assert (np.diff(probability)[tied] == 0).all()
    assert probability.min() >= 0
    assert probability.max() <= 1


def test_keep_probability_is_the_percentile_to_the_power_beta():
    q = np.array([0.25, 0.5, 1.0], dtype=np.float32)
    np.testing.assert_allclose(keep_probability(q, 2), [0.0625, 0.25, 1.0])
    np.testing.assert_allclose(keep_probability(q, 8), [0.25**8, 0.5**8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(keep_probability(q, 0.5), [0.5, 0.5**0.5, 1.0], rtol=1e-6)


@pytest.mark.parametrize("beta", [-1.0, -1e-9, NAN])
def test_keep_probability_rejects_a_beta_below_0(beta):
    with pytest.raises(ValueError, match=r"beta=.*must be at least 0"):
        keep_probability(np.array([0.5]), beta)


def test_beta_0_keeps_everything():
    scores = rng(1).random(5000)
    kept = draw(keep_probability(percentiles(scores), 0.0), rng(2))
    assert (kept == np.arange(5000)).all()


@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0, 32.0])
def test_observed_rate_is_near_one_over_one_plus_beta(beta):
    n = 200_000
    probability = keep_probability(percentiles(rng(3).exponential(size=n)), beta)
    kept = len(draw(probability, rng(4)))
    expected = 1 / (1 + beta)
    # independent draws of unequal probability vary less than a binomial of their mean
    assert abs(kept - n * expected) < 4 * math.sqrt(n * expected * (1 - expected)) + 1


def test_every_position_is_kept_at_its_own_rate():
    probability, repeats = np.array([0.0, 0.1, 0.5, 0.9, 1.0], dtype=np.float32), 4000
    generator, counts = rng(5), np.zeros(5)
    together = 0
    for _ in range(repeats):
        kept = draw(probability, generator)
        assert (np.diff(kept) > 0).all()
        counts[kept] += 1
        together += int(2 in kept and 3 in kept)
    assert counts[0] == 0
    assert counts[4] == repeats
    for position, p in [(1, 0.1), (2, 0.5), (3, 0.9)]:
        assert abs(counts[position] - repeats * p) < 4 * math.sqrt(repeats * p * (1 - p))
    # independent: both are kept as often as the product says
    assert abs(together - repeats * 0.45) < 4 * math.sqrt(repeats * 0.45 * 0.55)


def test_a_seed_fixes_the_draw():
    probability = np.full(1000, 0.3, dtype=np.float32)
    assert (draw(probability, rng(6)) == draw(probability, rng(6))).all()
    assert draw(probability, rng(6)).tolist() != draw(probability, rng(7)).tolist()


@pytest.mark.parametrize("scores", [[0.3], [1.0, 1.0], [1.0, 2.0, 3.0], [5.0] * 20])
def test_a_draw_is_never_empty(scores):
    probability = keep_probability(percentiles(np.array(scores)), 1000.0)
    generator = rng(8)
    for _ in range(20):
        kept = draw(probability, generator)
        assert len(kept) >= 1
        assert set(kept) <= set(range(len(scores)))


def test_an_empty_draw_is_repeated_before_anything_is_forced():
    # kept alone or together: at 0.02 each, most first draws are empty, and two at once stay possible
    generator = rng(9)
    counts = [len(draw(np.full(10, 0.02, dtype=np.float32), generator)) for _ in range(2000)]
    empty = 0.98**10
    several = 1 - 10 * 0.02 * 0.98**9 / (1 - empty)
    assert min(counts) == 1
    assert abs(np.mean(np.array(counts) > 1) - several) < 4 * math.sqrt(several * (1 - several) / 2000)


def test_hopeless_probabilities_are_drawn_in_proportion():
    assert draw(np.array([0.0, 1e-30, 0.0], dtype=np.float32), rng(10)).tolist() == [1]
    generator = rng(11)
    chosen = [draw(np.array([1e-30, 3e-30]), generator).item() for _ in range(400)]
    assert abs(np.mean(chosen) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 400)
    alone = [draw(np.zeros(3), generator).tolist() for _ in range(100)]
    assert sorted({kept[0] for kept in alone}) == [0, 1, 2]


def test_an_empty_list_of_candidates_is_rejected():
    with pytest.raises(ValueError, match="list of candidates is empty"):
        draw(np.array([]), rng())


# ---- draw_by_score


class Given:
    """Stands in for a generator: hands out the numbers it was given, in order, the same again and again."""

    def __init__(self, numbers: np.ndarray):
        self.numbers, self.position = numbers, 0

    def random(self, size: int) -> np.ndarray:
        start, self.position = self.position, (self.position + size) % len(self.numbers)
        return self.numbers[start : start + size]


@quick
@given(score_arrays, st.sampled_from([0.01, 0.5, 1.0, 2.0, 8.0, 100.0]), st.integers(0, 10**6), st.booleans())
def test_draw_by_score_keeps_what_the_percentiles_say(scores, beta, seed, some_never_scored):
    generator = rng(seed)
    if some_never_scored:
        scores = np.where(generator.random(len(scores)) < 0.2, np.float32(NAN), scores)
    probability = percentiles(scores).astype(np.float64) ** beta
    u = generator.random(len(scores))
    assume((u < probability).any())
    clear = ~np.isclose(u, probability, rtol=1e-4)  # percentiles are float32
    kept = np.isin(np.arange(len(scores)), draw_by_score(scores, beta, Given(u)))
    assert (kept[clear] == (u < probability)[clear]).all()


@pytest.mark.parametrize(
    ("scores", "u", "kept"),
    [
        # beta 1: kept where u is below the percentile
        ([3.0, 1.0, 2.0, 4.0], [0.74, 0.24, 0.49, 0.99], [0, 1, 2, 3]),
        ([3.0, 1.0, 2.0, 4.0], [0.76, 0.26, 0.51, 0.99], [3]),
        ([5.0, 1.0, 5.0, 9.0], [0.62, 0.26, 0.63, 0.99], [0, 3]),
        ([2.0, 2.0], [0.74, 0.76], [0]),
        ([-0.0, 0.0], [0.76, 0.74], [1]),
        ([NAN, 2.0, NAN, 1.0], [0.99, 0.99, 0.99, 0.51], [0, 1, 2]),
        ([NAN, 2.0, NAN, 1.0], [0.99, 0.99, 0.99, 0.49], [0, 1, 2, 3]),
    ],
)
def test_draw_by_score_written_out(scores, u, kept):
    assert draw_by_score(np.array(scores), 1.0, Given(np.array(u))).tolist() == kept


@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0, 32.0])
def test_draw_by_score_keeps_near_one_over_one_plus_beta(beta):
    n, expected = 200_000, 1 / (1 + beta)
    kept = len(draw_by_score(rng(12).exponential(size=n), beta, rng(13)))
    assert abs(kept - n * expected) < 4 * math.sqrt(n * expected * (1 - expected)) + 1


def test_drawing_in_chunks_keeps_the_same(monkeypatch):
    scores = rng(14).integers(0, 20, 1000).astype(np.float32)
    whole = draw_by_score(scores, 2.0, rng(15))
    # the package's attribute of that name is the function
    monkeypatch.setattr(importlib.import_module("sbp.selection.draws"), "CHUNK", 64)
    np.testing.assert_array_equal(draw_by_score(scores, 2.0, rng(15)), whole)


@pytest.mark.parametrize("scores", [[0.3], [1.0, 1.0], [1.0, 2.0, 3.0], [5.0] * 20])
def test_draw_by_score_is_never_empty(scores):
    for seed in range(10):
        kept = draw_by_score(np.array(scores), 1000.0, rng(seed))
        assert len(kept) >= 1
        assert set(kept) <= set(range(len(scores)))


@pytest.mark.parametrize("scores", [[1.0, 2.0, 2.0, NAN], [NAN, NAN]])
def test_draw_by_score_keeps_all_at_beta_0_and_all_never_scored(scores):
    assert draw_by_score(np.array(scores), 0.0, rng()).tolist() == list(range(len(scores)))
    never = np.flatnonzero(np.isnan(scores))
    assert set(never) <= set(draw_by_score(np.array(scores), 1000.0, rng()))


def test_draw_by_score_always_keeps_the_largest_score():
    scores = np.array([1.0, 3.0, NAN, 2.0])
    # u ** (1 / beta) is rounded up to 1 at the last beta
    for beta in (1.0, 1000.0, 1e20):
        assert all({1, 2} <= set(draw_by_score(scores, beta, rng(seed))) for seed in range(5))


def test_draw_by_score_rejects():
    with pytest.raises(ValueError, match=r"beta=-1, must be at least 0"):
        draw_by_score(np.ones(3), -1, rng())
    with pytest.raises(ValueError, match=r"beta=nan, must be at least 0"):
        draw_by_score(np.ones(3), NAN, rng())
    with pytest.raises(ValueError, match="list of candidates is empty"):
        draw_by_score(np.array([]), 2.0, rng())


@pytest.mark.parametrize(
    ("beta", "n", "expected"),
    [(0, 5, 1.0), (1, 4, 0.625), (2, 2, 0.625), (8, 1, 1.0), (1, 1000, 0.5005)],
)
def test_expected_kept_fraction_written_out(beta, n, expected):
    assert expected_kept_fraction(beta, n) == pytest.approx(expected)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 8.0, 16.0])
def test_expected_kept_fraction_goes_to_one_over_one_plus_beta(beta):
    assert expected_kept_fraction(beta, 100_000) == pytest.approx(1 / (1 + beta), rel=1e-3)
    assert beta_for_kept_fraction(1 / (1 + beta)) == pytest.approx(beta)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, NAN])
def test_kept_fraction_outside_0_to_1_is_rejected(fraction):
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        beta_for_kept_fraction(fraction)
