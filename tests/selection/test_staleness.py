"""Which images a scoring pass covers: schedules written out, and what they cost in the long run."""

import numpy as np
import pytest

from sbp.selection import (
    STALENESSES,
    EveryEpoch,
    Periodic,
    Reuse,
    ScoreBook,
    Selective,
    SelectiveSampler,
    Smart,
    Stale,
    Staleness,
)

ALL = [0, 1, 2, 3, 4, 5]
TRAINED_AFTER_WARMUP = [ALL, [0, 1], [2], [0], [3, 4], [5], [1], [2, 3], [0, 5]]
"""The images trained on in epochs 0 to 8 if the first epoch warms up."""
TRAINED = [[4], *TRAINED_AFTER_WARMUP[1:]]
"""The same without warm-up."""


def scored_images(staleness: Staleness, warmup_epochs: int, trained: list[list[int]]) -> list[list[int]]:
    """The images each epoch scores, given those each epoch trains on."""
    book = ScoreBook(len(ALL), 1)
    sampler = SelectiveSampler(book, Selective(), staleness, seed=0, warmup_epochs=warmup_epochs)
    scored = []
    for epoch, images in enumerate(trained):
        due = sampler.images_to_score(epoch)
        scored.append(due.tolist())
        sampler.record_scores(due, np.ones((1, len(due), 1)), epoch)
        if sampler.writes_back:
            sampler.record_scores(np.array(images), np.ones((1, len(images), 1)), epoch)
        sampler.record_training(np.array(images), epoch)
    return scored


@pytest.mark.parametrize(
    ("staleness", "expected"),
    [
        (Periodic(1), [[], ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL]),
        (Periodic(4), [[], ALL, [], [], [], ALL, [], [], []]),
        (Periodic(1, only_seen=True), [[], ALL, [0, 1], [2], [0], [3, 4], [5], [1], [2, 3]]),
        (Periodic(4, only_seen=True), [[], ALL, [], [], [], [0, 1, 2, 3, 4], [], [], []]),
        # a third of six images is two: the oldest, by number where the age is the same
        (Reuse(1 / 3), [[], [0, 1], [2, 3], [4, 5], [1, 2], [0, 5], [1, 2], [3, 4], [0, 5]]),
        (Reuse(0.0), [[]] * 9),
    ],
    ids=["every_epoch", "stale", "smart", "stale_smart", "reuse", "reuse without refresh"],
)
def test_schedule_after_a_warmup_epoch(staleness, expected):
    assert scored_images(staleness, 1, TRAINED_AFTER_WARMUP) == expected


@pytest.mark.parametrize(
    ("staleness", "expected"),
    [
        (Periodic(1), [ALL] * 9),
        (Periodic(4), [ALL, [], [], [], ALL, [], [], [], ALL]),
        (Periodic(1, only_seen=True), [ALL, [4], [0, 1], [2], [0], [3, 4], [5], [1], [2, 3]]),
        (Periodic(4, only_seen=True), [ALL, [], [], [], [0, 1, 2, 4], [], [], [], [1, 2, 3, 4, 5]]),
        (Reuse(1 / 3), [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3], [0, 5], [1, 2], [3, 4], [0, 5]]),
        (Reuse(0.0), [[]] * 9),
    ],
    ids=["every_epoch", "stale", "smart", "stale_smart", "reuse", "reuse without refresh"],
)
def test_schedule_without_warmup(staleness, expected):
    assert scored_images(staleness, 0, TRAINED) == expected


def test_smart_leaves_the_scores_of_images_not_trained_on_as_they_were():
    book = ScoreBook(3, 1)
    book.record_scores(np.arange(3), np.array([[[1.0], [2.0], [3.0]]]), 0)
    book.record_training(np.array([2]), 0)
    due = Periodic(1, only_seen=True).images_to_score(1, 0, book)
    assert due.tolist() == [2]
    book.record_scores(due, np.array([[[0.5]]]), 1)
    assert book.scores.ravel().tolist() == [1.0, 2.0, 0.5]
    # rescored and not trained on again: it is up to date
    assert Periodic(1, only_seen=True).images_to_score(2, 0, book).tolist() == []


def test_smart_scores_what_a_cut_short_warmup_epoch_left_out():
    book = ScoreBook(4, 1)
    book.record_training(np.array([1, 2]), 0)
    assert Periodic(1, only_seen=True).images_to_score(1, 1, book).tolist() == [0, 1, 2, 3]


def test_reuse_alone_writes_the_losses_of_the_training_step_back():
    for staleness in (Periodic(1), Periodic(4), Periodic(1, True), Periodic(4, True)):
        assert not staleness.writes_back
    assert Reuse().writes_back


def test_names_are_those_of_the_methods():
    periodic = [Periodic(every, only_seen) for only_seen in (False, True) for every in (1, 4)]
    assert [s.name for s in [*periodic, Reuse()]] == ["every_epoch", "stale", "smart", "stale_smart", "reuse"]


def test_each_name_stands_for_its_schedule():
    made = {name: cls() for name, cls in STALENESSES.items()}
    assert {name: s.name for name, s in made.items()} == {name: name for name in made}
    assert list(made) == ["every_epoch", "stale", "smart", "stale_smart", "reuse", "hidden"]
    # an N of one's own makes it another method, and it says so
    assert [EveryEpoch(9).name, Stale(1).name, Smart(3).name] == ["stale", "every_epoch", "stale_smart"]


@pytest.mark.parametrize("every", [0, -1])
def test_a_period_below_one_epoch_is_rejected(every):
    with pytest.raises(ValueError, match=f"^every={every}: must be at least 1$"):
        Periodic(every)


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_a_refresh_fraction_outside_0_to_1_is_rejected(fraction):
    with pytest.raises(ValueError, match=r"^refresh_fraction=.*: must be between 0 and 1$"):
        Reuse(fraction)


# ---- cost: kept + scored / 3 per epoch, in baseline epochs (a forward pass is a third of a training step)

KEPT = 1 / 9  # beta 8
# An image at percentile q is trained on within 4 epochs with probability 1 - (1 - q^8)^4; over q in [0, 1]:
SEEN_IN_FOUR = 4 / 9 - 6 / 17 + 4 / 25 - 1 / 33


@pytest.mark.parametrize(
    ("staleness", "ideal", "speed_up"),
    [
        (Periodic(1), KEPT + 1 / 3, 2.2),
        (Periodic(4), KEPT + 1 / 12, 5.1),
        (Periodic(1, only_seen=True), KEPT + KEPT / 3, 6.75),
        (Periodic(4, only_seen=True), KEPT + SEEN_IN_FOUR / 12, 7.7),
        (Reuse(0.0), KEPT, 9.0),
        (Reuse(0.05), KEPT + 0.05 / 3, 7.8),
    ],
    ids=["every_epoch", "stale", "smart", "stale_smart", "reuse without refresh", "reuse"],
)
def test_simulated_cost_is_the_ideal(staleness, ideal, speed_up):
    n, epochs, start = 2000, 164, 4
    generator = np.random.default_rng(0)
    sampler = SelectiveSampler(ScoreBook(n, 1), Selective(), staleness, seed=1, warmup_epochs=0)
    cost = 0.0
    for epoch in range(epochs):
        due = sampler.images_to_score(epoch)
        sampler.record_scores(due, generator.random((1, len(due), 1)), epoch)
        plan = sampler.plan(epoch)
        if sampler.writes_back:
            sampler.record_scores(plan.indices, generator.random((1, len(plan.indices), 1)), epoch)
        sampler.record_training(plan.indices, epoch)
        if epoch >= start:  # after the first full pass, over whole periods
            cost += plan.kept_fraction + len(due) / n / 3
    mean_cost = cost / (epochs - start)
    assert mean_cost == pytest.approx(ideal, rel=0.02)
    assert 1 / mean_cost == pytest.approx(speed_up, rel=0.04)
