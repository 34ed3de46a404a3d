"""The guard: an image that was trained on and did not learn is suspect, and its score draws it no more."""

import numpy as np
import pytest

from sbp.selection import (
    Dynamics,
    PerDefect,
    Reuse,
    ScoreBook,
    SelectionContext,
    Selective,
    SelectiveSampler,
    Stratified,
)
from sbp.selection.guard import stratum_medians
from sbp.selection.strata import stratum_weights

N = 8
HEALTHY = np.zeros(N, dtype=np.int32)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def watched(first: np.ndarray, drawn: list[int], strata: np.ndarray = HEALTHY) -> Dynamics:
    """A guard that saw these images drawn for the first time at these scores."""
    guard = Dynamics(min_selected=5, remaining=0.5)
    guard.observe(first, strata, np.isin(np.arange(len(first)), drawn))
    return guard


FIRST = scores(1, 1, 1, 1, 2, 2, 2, 2)
LATER = scores(0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 1.5, 1.5)


def test_an_image_that_stays_where_the_others_learnt_is_suspect():
    often = np.full(N, 5)
    found = watched(FIRST, list(range(N))).suspects(LATER, HEALTHY, often)
    assert np.flatnonzero(found).tolist() == [6, 7]


@pytest.mark.parametrize(
    ("why", "later", "times"),
    [
        ("it was drawn too seldom to tell", LATER, 4),
        ("it learnt more than half", scores(0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.9, 0.9), 5),
        ("its stratum learnt no more than it", scores(0.8, 0.8, 0.8, 0.8, 1.6, 1.6, 1.6, 1.6), 5),
    ],
)
def test_none_is_suspect_where(why, later, times):
    assert not watched(FIRST, list(range(N))).suspects(later, HEALTHY, np.full(N, times)).any(), why


def test_an_image_is_measured_from_its_own_first_draw():
    guard = watched(FIRST, [0, 1])
    guard.observe(scores(1, 1, 1, 1, 2, 2, 1.6, 1.6), HEALTHY, np.ones(N, dtype=bool))
    guard.observe(LATER, HEALTHY, np.ones(N, dtype=bool))  # later scores change nothing
    assert guard.first_scores.tolist() == pytest.approx([1, 1, 1, 1, 2, 2, 1.6, 1.6])
    assert guard.first_medians[[0, 6]].tolist() == pytest.approx([1.5, 1.3])


def test_without_a_score_at_its_first_draw_the_first_one_after_counts():
    unknown = np.full(N, np.nan, dtype=np.float32)
    guard = watched(unknown, list(range(N)))
    assert not guard.suspects(unknown, HEALTHY, np.full(N, 9)).any()
    guard.observe(FIRST, HEALTHY, np.ones(N, dtype=bool))
    assert np.flatnonzero(guard.suspects(LATER, HEALTHY, np.full(N, 9))).tolist() == [6, 7]


def test_each_stratum_has_its_own_median():
    strata = np.array([0, 0, 0, 1, 1, 1, 1, 3])
    values = scores(1, 2, 9, 4, 4, 8, 10, np.nan)
    np.testing.assert_array_equal(stratum_medians(values, strata), scores(2, 6, np.nan, np.nan))
    # the last two stay, while the defective ones learnt and the healthy ones did not
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    later = scores(1, 1, 1, 1, 0.2, 0.2, 0.2, 1.9)
    found = watched(FIRST, list(range(N)), strata).suspects(later, strata, np.full(N, 5))
    assert np.flatnonzero(found).tolist() == [7]


def test_a_guard_goes_on_from_its_state():
    guard, resumed = watched(FIRST, [0, 6]), Dynamics()
    resumed.load_state_dict({name: np.copy(array) for name, array in guard.state_dict().items()})
    for one in (guard, resumed):
        one.observe(FIRST, HEALTHY, np.ones(N, dtype=bool))
    often = np.full(N, 5)
    np.testing.assert_array_equal(
        guard.suspects(LATER, HEALTHY, often), resumed.suspects(LATER, HEALTHY, often)
    )


def test_a_suspect_keeps_the_blind_share_of_its_weight_alone():
    values = scores(0.1, 0.2, 0.3, 0.4)
    suspect = np.array([False, False, False, True])
    q = np.array([1, 2, 3]) / 4
    expected = [*(0.7 * q**6 / (q**6).sum() + 0.3 / 4), 0.3 / 4]
    np.testing.assert_allclose(stratum_weights(values, 6, 0.3, suspect), expected, rtol=1e-5)
    assert stratum_weights(values, 6, 0.0, suspect)[3] > 0  # drawn when nothing else is left
    blind = stratum_weights(values, 6, 0.3, np.ones(4, dtype=bool))
    assert blind.sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("policy", [Stratified(mix=0.3), Selective(), PerDefect()], ids=lambda p: p.name)
def test_a_suspect_of_the_highest_loss_is_drawn_less_often(policy):
    n, book = 40, ScoreBook(40, 1)
    values = np.linspace(0.1, 1, n, dtype=np.float32)
    book.record_scores(np.arange(n), values[None, :, None], 0)
    labels = (np.arange(n) % 4 == 0)[:, None]
    last = n - 1
    rng = np.random.default_rng(0)
    rates = []
    for suspects in (None, np.arange(n) == last):
        context = SelectionContext(np.arange(n), book, 8.0, (0,), labels, suspects=suspects)
        rates.append(np.mean([last in policy.select(context, rng) for _ in range(300)]))
    blind = {"stratified": 0.3 / 3}.get(policy.name, 1 / 9)
    assert rates[0] > 0.8
    assert rates[1] == pytest.approx(blind, abs=0.08)


def test_the_sampler_names_an_unmarked_defect_and_not_a_look_alike():
    """Losses as they develop: all fall by half an epoch when trained on, but that of image 7."""
    n, guard = 40, Dynamics(min_selected=3)
    labels = (np.arange(n) < 8)[:, None]
    unmarked, lookalike = 20, 30
    sampler = SelectiveSampler(
        ScoreBook(n, 1), Stratified(), Reuse(), seed=0, labels=labels, guard=guard, beta=4.0
    )
    loss = np.full(n, 1.0, dtype=np.float32)
    loss[[unmarked, lookalike]] = 4.0
    for epoch in range(12):
        sampler.set_epoch(epoch)
        drawn = np.array(list(sampler))
        sampler.observe(drawn)
        sampler.record_training(drawn, epoch)
        loss *= 0.9
        loss[drawn] *= 0.8
        loss[unmarked] = 4.0
        sampler.record_scores(np.arange(n), loss[None, :, None], epoch)
    assert np.flatnonzero(sampler.suspects()).tolist() == [unmarked]


def test_a_guard_without_labels_is_refused():
    with pytest.raises(ValueError, match="labels: a guard needs the labels"):
        SelectiveSampler(ScoreBook(3, 1), Selective(), Reuse(), seed=0, guard=Dynamics())
