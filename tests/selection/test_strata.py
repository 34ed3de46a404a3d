"""Stratified selection: who competes with whom, how many of each, and by what chance."""

import itertools
import math

import numpy as np
import pytest

from sbp.selection import Balanced, FrequencyOfUse, Stratified
from sbp.selection.balanced import use_weights
from sbp.selection.strata import (
    draw_weighted,
    drawn_repeats,
    repeat_factors,
    strata_of,
    stratum_weights,
)
from tests.selection.test_policies import book_of, near, rng, select

HEALTHY = [0, 0, 0]
LABELS = np.array([HEALTHY, [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], HEALTHY, [1, 0, 1]], dtype=bool)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("label", [[0, 5], [1, 2, 3, 4, 6]]),
        # an image with several defects belongs to its rarest: the first defect is the commonest
        ("defect", [[0, 5], [1, 4], [2, 3], [6]]),
        ("combination", [[0, 5], [1, 4], [2], [3], [6]]),
    ],
)
def test_strata_by_hand(by, groups):
    numbers = strata_of(LABELS, by)
    assert set(np.flatnonzero(numbers == 0)) == {0, 5}
    found = {tuple(np.flatnonzero(numbers == n)) for n in set(numbers.tolist())}
    assert found == {tuple(group) for group in groups}


@pytest.mark.parametrize("by", ["label", "defect", "combination"])
@pytest.mark.parametrize("defects", [1, 30])
def test_every_image_is_in_one_stratum_also_where_no_image_or_each_has_a_defect(by, defects):
    for share in (0.0, 0.05, 1.0):
        labels = rng().random((200, defects)) < share
        numbers = strata_of(labels, by)
        assert numbers.shape == (200,)
        np.testing.assert_array_equal(numbers > 0, labels.any(axis=1))


def test_weights_are_the_formula():
    scores = np.array([0.3, 0.1, 0.3, 0.9], dtype=np.float32)
    q = np.array([2.5, 1, 2.5, 4]) / 4  # equal scores share the mean of their ranks
    expected = 0.7 * q**6 / (q**6).sum() + 0.3 / 4
    np.testing.assert_allclose(stratum_weights(scores, beta=6, mix=0.3), expected, rtol=1e-5)


def test_an_image_without_a_score_is_drawn_as_blindly_as_it_is_known():
    scores = np.array([0.2, np.nan, 0.5, np.nan], dtype=np.float32)
    weights = stratum_weights(scores, beta=4, mix=0.2)
    q = np.array([1, 2]) / 2
    np.testing.assert_allclose(weights[[0, 2]], 0.8 * 0.5 * q**4 / (q**4).sum() + 0.2 / 4, rtol=1e-5)
    np.testing.assert_allclose(weights[[1, 3]], 0.25)
    np.testing.assert_allclose(stratum_weights(np.full(5, np.nan, np.float32), 4, 0.2), 0.2)


@pytest.mark.parametrize("blind", [{"beta": 0, "mix": 0.3}, {"beta": 6, "mix": 1.0}])
def test_beta_zero_or_all_mixed_draws_blindly(blind):
    np.testing.assert_allclose(stratum_weights(np.arange(5, dtype=np.float32), **blind), 0.2)


def inclusion(weights: np.ndarray, count: int) -> np.ndarray:
    """Chance of each position in `count` successive draws without replacement, from all their orders."""
    chance = np.zeros(len(weights))
    for order in itertools.permutations(range(len(weights)), count):
        p, left = 1.0, weights.sum()
        for position in order:
            p *= weights[position] / left
            left -= weights[position]
        chance[list(order)] += p
    return chance


@pytest.mark.parametrize("count", [1, 2, 4])
def test_inclusion_rates_are_those_of_successive_draws(count):
    weights, trials, generator = np.array([0.05, 0.1, 0.15, 0.3, 0.4], np.float32), 8000, rng(3)
    seen = np.zeros(5, dtype=int)
    for _ in range(trials):
        drawn = draw_weighted(weights, count, generator)
        assert len(set(drawn.tolist())) == count
        seen[drawn] += 1
    for position, p in enumerate(inclusion(weights.astype(float), count)):
        assert near(seen[position], trials, p), (position, seen[position] / trials, p)


def test_no_more_are_drawn_than_there_are():
    weights = np.full(3, 1 / 3, np.float32)
    assert sorted(draw_weighted(weights, 3, rng())) == sorted(draw_weighted(weights, 99, rng())) == [0, 1, 2]
    assert len(draw_weighted(weights, 0, rng())) == len(draw_weighted(weights[:0], 4, rng())) == 0


def test_repeat_factors_are_those_of_lvis():
    """max(1, sqrt(t / f)): at t = 10 %, 2.58 for a defect in 1.5 % of the images and 1 from 10 % on."""
    labels = np.zeros((1000, 2), dtype=bool)
    labels[:100, 0], labels[95:110, 1] = True, True
    factors = repeat_factors(labels, labels.mean(axis=0), below=0.1)
    assert factors[0] == 1  # the common defect
    assert factors[105] == pytest.approx(math.sqrt(0.1 / 0.015))
    assert factors[97] == factors[105]  # both: the rarer counts
    assert factors[500] == 1  # healthy
    repeats = drawn_repeats(np.full(4000, factors[105]), rng())
    assert set(repeats.tolist()) == {2, 3}
    assert near(int((repeats == 3).sum()), 4000, factors[105] - 2)


def stock(healthy: int, defective: int, scores=None):
    """A book, labels (N, 2) and candidates: healthy images first."""
    n = healthy + defective
    labels = np.zeros((n, 2), dtype=bool)
    labels[healthy:, 0] = True
    labels[n - defective // 4 :, 1] = True
    book = book_of(np.linspace(0, 1, n) if scores is None else scores)
    return book, labels, np.arange(n)


def test_balanced_is_stratified_without_losses():
    book, labels, candidates = stock(40, 8)
    blind = Stratified(beta_healthy=0)
    assert not blind.needs_scores
    counts = np.zeros((2, 48), dtype=int)
    for seed in range(600):
        for row, policy in enumerate((blind, Balanced())):
            kept = select(policy, candidates, book, rng(seed), labels=labels)
            assert len(kept) == 16
            counts[row, kept] += 1
    assert (counts[:, 40:] == 600).all()
    for row in counts[:, :40]:
        assert all(near(c, 600, 8 / 40) for c in row)


def test_all_defective_images_and_the_hardest_healthy_ones():
    book, labels, candidates = stock(200, 20)
    counts = np.zeros(220, dtype=int)
    for seed in range(400):
        counts[select(Stratified(beta_healthy=8, mix=0.3), candidates, book, rng(seed), labels=labels)] += 1
    assert (counts[200:] == 400).all()
    assert counts.sum() == 400 * 40
    hardest, easiest = counts[180:200].sum(), counts[:100].sum()
    assert hardest > 3 * 400 * 2  # blindly: two of these twenty a draw
    assert 400 * 2 < easiest < 400 * 5  # blindly: ten; the share that is blind leaves three


def test_the_healthy_budget_slides_over_the_run():
    book, labels, candidates = stock(100, 20)
    policy = Stratified(healthy=0.25, healthy_end=1.5)
    sizes = [
        len(select(policy, candidates, book, rng(), labels=labels, progress=p)) - 20 for p in (0, 0.5, 1)
    ]
    assert sizes == [5, round(0.875 * 20), 30]


def test_hard_ones_of_each_defect_where_a_share_of_it_is_wanted():
    book, labels, candidates = stock(10, 80)
    policy = Stratified(healthy=0, defective=0.5, beta_defective=8, mix=0)
    kept = select(policy, candidates, book, rng(), labels=labels)
    rare = labels[kept, 1].sum()
    assert (len(kept), rare) == (40, 10)  # half of the 60 with A alone, half of the 20 with B
    common = np.sort(kept[~labels[kept, 1]])
    assert np.mean(common >= 40) > 0.75  # of 10 to 69, the later are the harder


def test_rare_defects_are_repeated():
    book, labels, candidates = stock(900, 100)
    policy = Stratified(healthy=0, beta_healthy=0, repeat_below=0.1)
    kept = select(policy, candidates, book, rng(), labels=labels)
    times = np.bincount(kept, minlength=1000)
    assert (times[900:975] == 1).all()
    assert set(times[975:].tolist()) <= {2}  # sqrt(0.1 / 0.025) = 2


@pytest.mark.parametrize("policy", [Stratified(), FrequencyOfUse()], ids=["stratified", "frequency"])
@pytest.mark.parametrize(
    ("healthy", "defective", "kept"), [(10, 0, 1), (0, 4, 4), (2, 8, 10), (1, 0, 1), (0, 1, 1)]
)
def test_strata_that_are_empty_or_smaller_than_their_budget(policy, healthy, defective, kept):
    book, labels, candidates = stock(healthy, defective)
    drawn = select(policy, candidates, book, rng(), labels=labels)
    assert len(set(drawn.tolist())) == len(drawn) == kept


def test_labels_are_needed():
    book, _, candidates = stock(5, 5)
    with pytest.raises(ValueError, match="labels: this policy needs the labels"):
        select(Stratified(), candidates, book, rng())


def test_use_weights_are_the_published_formula():
    uses = np.array([0, 1, 1, 4])
    u = 1 - uses / 4
    expected = (u - np.median(u) + 1) ** (4 * math.log(4))
    np.testing.assert_allclose(use_weights(uses), expected / expected.max(), rtol=1e-5)


def test_healthy_images_are_used_in_turn():
    """After five epochs that use a tenth each, nearly half of the images were used, few more than once; blind
    draws would leave 59 % unused and repeat 8 %."""
    book, labels, candidates = stock(500, 50)
    for epoch in range(5):
        kept = select(FrequencyOfUse(), candidates, book, rng(epoch), labels=labels)
        book.record_training(kept, epoch)
    uses = book.times_selected[:500]
    assert uses.sum() == 250
    assert (uses > 1).mean() < 0.03
    assert (book.times_selected[500:] == 5).all()


def test_a_run_trains_on_more_healthy_images_as_its_budget_is_used(toy_data):
    from tests.conftest import make_trainer

    trainer = make_trainer(
        toy_data, "selection=sliding", "selection.healthy=0", "selection.healthy_end=3",
        "staleness=reuse", "budget.compute=null", "budget.epochs=4",
    )  # fmt: skip
    kept = [record.metrics["train/images"] for record in trainer.epochs()]
    defective = int(toy_data.train.labels.any(axis=1).sum())
    assert kept == pytest.approx([defective * (1 + share) for share in (0, 0.75, 1.5, 2.25)], abs=1)
