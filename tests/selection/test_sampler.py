"""The sampler: an epoch's plan depends on seed, epoch and scores, and on nothing else."""

import doctest

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sbp.selection import (
    NEVER,
    Balanced,
    EpochPlan,
    Everything,
    Periodic,
    Policy,
    Random,
    Reuse,
    ScoreBook,
    Selective,
    SelectiveSampler,
    defect_indices,
    sampler,
)

N = 500


def scored_sampler(seed: int = 0, beta: float = 2.0, num_images: int = N) -> SelectiveSampler:
    """A sampler whose images were all scored once, with different scores."""
    result = SelectiveSampler.simple(num_images, beta, seed=seed)
    scores = np.random.default_rng(99).permutation(num_images).astype(float)
    result.record_scores(np.arange(num_images), scores[None, :, None], 0)
    return result


def test_same_seed_epoch_and_scores_give_the_same_plan():
    plan = scored_sampler().plan(3)
    np.testing.assert_array_equal(plan.indices, scored_sampler().plan(3).indices)
    one = scored_sampler()
    for epoch in (7, 1, 3, 2):  # whatever was planned before
        one.plan(epoch)
    np.random.seed(5)  # noqa: NPY002 - a plan must not depend on it
    np.testing.assert_array_equal(one.plan(3).indices, plan.indices)


def test_other_epochs_and_other_seeds_give_other_plans():
    plans = [scored_sampler(seed).plan(epoch).indices for seed in range(3) for epoch in range(1, 5)]
    kept = {tuple(sorted(plan)) for plan in plans}
    assert len(kept) == len(plans)


def test_a_plan_depends_on_the_scores():
    one, other = scored_sampler(), scored_sampler()
    other.record_scores(np.arange(N), -one.book.scores, 1)
    assert sorted(one.plan(3).indices) != sorted(other.plan(3).indices)


def test_planning_does_not_change_the_book():
    one = scored_sampler()
    one.record_training(np.arange(7), 0)
    before = {name: getattr(one.book, name).copy() for name in ScoreBook.ARRAYS}
    for epoch in range(4):
        one.plan(epoch)
        one.images_to_score(epoch)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(one.book, name), array, err_msg=name)


def test_planning_does_not_change_the_candidates_or_numpys_random_state():
    candidates = np.array([0, 1, 1, 2])
    one = SelectiveSampler(ScoreBook(3, 1), Everything(), Periodic(), 0, candidates)
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    one.plan(5)
    assert np.random.random() == expected  # noqa: NPY002
    assert candidates.tolist() == one.candidates.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("policy", [Selective(), Random(), Everything()], ids=lambda p: p.name)
@pytest.mark.parametrize("warmup_epochs", [1, 3])
def test_warmup_trains_on_every_candidate_and_scores_nothing(policy: Policy, warmup_epochs):
    book = ScoreBook(N, 1)
    book.record_scores(np.arange(N), np.arange(float(N))[None, :, None], 0)
    candidates = np.concatenate([np.arange(N), [7, 7]])
    one = SelectiveSampler(book, policy, Periodic(), 0, candidates, warmup_epochs)
    for epoch in range(warmup_epochs):
        plan = one.plan(epoch)
        assert sorted(plan.indices) == sorted(candidates)
        assert plan.kept_fraction == 1.0
        assert len(one.images_to_score(epoch)) == 0
    after = one.plan(warmup_epochs)
    assert len(one.images_to_score(warmup_epochs)) == (N if policy.needs_scores else 0)
    assert (len(after.indices) < N / 4) == (policy.name != "none")


def test_balanced_has_no_warmup():
    defective = np.arange(N) < 10
    one = SelectiveSampler(
        ScoreBook(N, 1), Balanced(), Periodic(), 0, warmup_epochs=2, labels=defective[:, None]
    )
    assert len(one.plan(0).indices) == 20


def test_without_warmup_the_first_epoch_selects():
    one = scored_sampler(beta=8.0)
    one.warmup_epochs = 0
    assert one.plan(0).kept_fraction < 0.25


def test_images_never_scored_are_all_trained_on():
    one = SelectiveSampler.simple(N, beta=8.0)
    one.warmup_epochs = 0
    assert sorted(one.plan(0).indices) == list(range(N))


def test_a_plan_is_in_random_order():
    indices = SelectiveSampler(ScoreBook(N, 1), Everything(), Periodic(), 0).plan(0).indices
    assert sorted(indices) == list(range(N))
    rises = (np.diff(indices) > 0).mean()
    assert 0.4 < rises < 0.6
    # the first place is anyone's: over many epochs its mean is the middle
    one = SelectiveSampler(ScoreBook(11, 1), Everything(), Periodic(), 0)
    first = [one.plan(epoch).indices[0] for epoch in range(400)]
    assert abs(np.mean(first) - 5) < 4 * np.sqrt(10 / 400)


def test_a_plan_names_images_and_counts_candidates():
    candidates = np.array([4, 4, 9, 9, 9, 2])
    book = ScoreBook(10, 1)
    plan = SelectiveSampler(book, Everything(), Periodic(), 0, candidates).plan(0)
    assert sorted(plan.indices) == [2, 4, 4, 9, 9, 9]
    assert plan.num_candidates == 6
    assert EpochPlan(np.array([4, 9, 9]), 6).kept_fraction == 0.5


def test_never_an_empty_epoch():
    one = SelectiveSampler(ScoreBook(1, 1), Selective(), Periodic(), 0, warmup_epochs=0, beta=1000)
    one.record_scores(np.array([0]), np.zeros((1, 1, 1)), 0)
    tied = SelectiveSampler(ScoreBook(9, 1), Selective(), Periodic(), 0, warmup_epochs=0, beta=1000)
    tied.record_scores(np.arange(9), np.ones((1, 9, 1)), 0)
    for epoch in range(20):
        assert one.plan(epoch).indices.tolist() == [0]
        assert len(tied.plan(epoch).indices) >= 1


def test_policies_without_scores_never_score():
    for policy in (Everything(), Random(), Balanced()):
        for staleness in (Periodic(), Reuse(0.5)):
            one = SelectiveSampler(ScoreBook(N, 1), policy, staleness, 0)
            assert all(len(one.images_to_score(epoch)) == 0 for epoch in range(3))
            assert not one.writes_back
    assert SelectiveSampler(ScoreBook(N, 1), Selective(), Reuse(0.5), 0).writes_back
    assert not SelectiveSampler(ScoreBook(N, 1), Selective(), Periodic(), 0).writes_back


def test_records_go_into_the_book():
    one = SelectiveSampler.simple(4)
    one.record_scores(np.array([2]), np.array([[[1.5]]]), 3)
    one.record_scores(np.empty(0, dtype=int), np.empty((1, 0, 1)), 4)
    one.record_training(np.array([1, 1]), 5)
    assert one.book.scored_at.tolist() == [NEVER, NEVER, 3, NEVER]
    assert one.book.times_selected.tolist() == [0, 2, 0, 0]


def test_simple_takes_its_arguments():
    one = SelectiveSampler.simple(num_images=12, beta=4.0, every=3, only_seen=True, seed=6)
    assert len(one.book) == 12
    assert one.beta == 4.0
    assert one.staleness.name == "stale_smart"
    assert one.staleness.every == 3
    assert one.seed == 6


def test_a_loop_of_ones_own_trains_more_on_what_has_high_losses():
    one = SelectiveSampler.simple(num_images=200, beta=8.0, every=2)
    losses = np.linspace(0.1, 2.0, 200)
    for epoch in range(21):
        due = one.images_to_score(epoch)
        one.record_scores(due, losses[due][None, :, None], epoch)
        one.record_training(one.plan(epoch).indices, epoch)
    times = one.book.times_selected
    assert (times >= 1).all()  # the warm-up epoch
    assert times[199] == 21
    assert times[:100].sum() - 100 < 30  # 20 epochs, mean of q^8 below the median 1 / (9 * 2^8): 0.9 in all
    assert times[150:].mean() > 5


def test_the_example_of_the_docstring_runs():
    examples = doctest.DocTestFinder().find(SelectiveSampler, "SelectiveSampler", sampler)
    results = [doctest.DocTestRunner(verbose=False).run(example) for example in examples]
    assert sum(result.attempted for result in results) >= 2
    assert sum(result.failed for result in results) == 0


def test_a_negative_warmup_is_rejected():
    with pytest.raises(ValueError, match=r"^warmup_epochs=-1: must be at least 0$"):
        SelectiveSampler(ScoreBook(1, 1), Everything(), Periodic(), 0, warmup_epochs=-1)


@pytest.mark.parametrize("beta", [-1, float("nan")])
def test_a_negative_beta_is_rejected(beta):
    with pytest.raises(ValueError, match=f"^beta={beta}: must be at least 0$"):
        SelectiveSampler(ScoreBook(1, 1), Selective(), Periodic(), 0, beta=beta)


def test_no_focus_is_rejected():
    with pytest.raises(ValueError, match=r"^focus: must name at least one defect"):
        SelectiveSampler(ScoreBook(1, 1), Selective(), Periodic(), 0, focus=[])


def test_a_data_loader_takes_it_as_its_sampler():
    one = scored_sampler(beta=2.0)
    loader = DataLoader(range(N), batch_size=16, sampler=one)
    for epoch in (3, 4):
        one.set_epoch(epoch)
        seen = torch.cat(list(loader)).tolist()
        assert seen == one.plan(epoch).indices.tolist()
        assert len(one) == len(seen)
        assert len(loader) == -(-len(seen) // 16)


def test_an_epoch_is_drawn_once_from_the_scores_at_its_first_use():
    one = scored_sampler()
    one.set_epoch(3)
    one.record_scores(np.arange(N), -one.book.scores, 3)  # before it is first asked for
    first = list(one)
    one.record_scores(np.arange(N), -one.book.scores, 3)
    assert list(one) == first
    assert first != scored_sampler().plan(3).indices.tolist()


def test_defect_indices():
    names = ["scratch", "broken", "dent"]
    assert defect_indices(names, ["dent", "scratch"]) == [2, 0]
    assert defect_indices(names, []) == []
    with pytest.raises(ValueError, match="hole, rust: the data set has scratch, broken, dent"):
        defect_indices(names, ["hole", "dent", "rust"])
