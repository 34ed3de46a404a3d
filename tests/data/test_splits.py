"""The split by group: nothing torn apart, every defect everywhere, shares near the asked ones."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp.data.splits.grouped import split_by_group

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def expand(sizes: list[int], kinds: list[int], num_defects: int) -> tuple[list[int], np.ndarray]:
    """Groups and labels of images, from the size and the defect of each group (-1: healthy)."""
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    labels = np.array([[kinds[group] == defect for defect in range(num_defects)] for group in groups])
    return groups, labels.reshape(len(groups), num_defects)


def splits_of(groups: list, names: list[str]) -> dict:
    found: dict = {}
    for group, name in zip(groups, names, strict=True):
        found.setdefault(group, set()).add(name)
    return found


@st.composite
def parts(draw) -> tuple[list[int], np.ndarray]:
    """Groups of up to 8 images, each of one of two defects or healthy."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=40))
    kinds = draw(st.lists(st.integers(-1, 1), min_size=len(sizes), max_size=len(sizes)))
    return expand(sizes, kinds, 2)


@quick
@given(parts(), st.integers(0, 5))
def test_groups_stay_whole_and_the_answer_is_repeatable(part, seed):
    groups, labels = part
    names = split_by_group(groups, labels, FRACTIONS, seed)
    assert len(names) == len(groups)
    assert all(len(found) == 1 for found in splits_of(groups, names).values())
    assert names == split_by_group(groups, labels, FRACTIONS, seed)


@quick
@given(parts(), st.integers(0, 5))
def test_every_defect_with_three_groups_is_in_every_split(part, seed):
    groups, labels = part
    names = np.array(split_by_group(groups, labels, FRACTIONS, seed))
    for column in (*labels.T, ~labels.any(axis=1)):
        if len(set(np.array(groups)[column])) >= 3:
            assert set(names[column]) == set(FRACTIONS)


@quick
@given(parts(), st.integers(0, 5))
def test_a_defects_share_is_off_by_at_most_two_of_its_largest_groups(part, seed):
    groups, labels = part
    names = np.array(split_by_group(groups, labels, FRACTIONS, seed))
    for column in (*labels.T, ~labels.any(axis=1)):
        largest = max(Counter(np.array(groups)[column]).values(), default=0)
        for split, fraction in FRACTIONS.items():
            assert abs((names[column] == split).sum() - fraction * column.sum()) <= 2 * largest


@quick
@given(st.lists(st.sets(st.integers(0, 3)), min_size=12, max_size=40), st.integers(0, 5))
def test_images_with_several_defects_keep_their_group(defects, seed):
    labels = np.array([[d in held for d in range(4)] for held in defects])
    groups = [f"part {i // 2}" for i in range(len(defects))]
    names = split_by_group(groups, labels, FRACTIONS, seed)
    assert all(len(found) == 1 for found in splits_of(groups, names).values())


def test_shares_are_met_when_groups_allow_it():
    groups, labels = expand([2] * 100, [0] * 10 + [1] * 20 + [-1] * 70, 2)
    names = np.array(split_by_group(groups, labels, FRACTIONS, seed=3))
    assert Counter(names) == {"train": 120, "val": 40, "test": 40}
    assert Counter(names[labels[:, 0]]) == {"train": 12, "val": 4, "test": 4}
    assert Counter(names[labels[:, 1]]) == {"train": 24, "val": 8, "test": 8}


def test_defects_that_share_groups_are_spread_together():
    # Group 0 holds defects 0 and 2, group 3 defects 1 and 2: only if they part can defect 2 be everywhere.
    held = [{0, 2}, {0}, {0}, {1, 2}, {1}, {1}, {2}]
    labels = np.array([[d in h for d in range(3)] for h in held])
    for seed in range(20):
        names = np.array(split_by_group(range(7), labels, FRACTIONS, seed))
        assert all(set(names[labels[:, d]]) == set(FRACTIONS) for d in range(3))


def test_another_seed_gives_another_split():
    groups, labels = expand([1] * 60, [0] * 20 + [-1] * 40, 1)
    assert len({tuple(split_by_group(groups, labels, FRACTIONS, seed)) for seed in range(4)}) == 4


def test_a_defect_of_one_group_is_trained_on():
    groups, labels = expand([3] * 11, [0] + [-1] * 10, 1)
    names = np.array(split_by_group(groups, labels, FRACTIONS, seed=0))
    assert set(names[labels[:, 0]]) == {"train"}


def test_a_split_of_share_zero_stays_empty():
    groups, labels = expand([1] * 20, [0] * 5 + [-1] * 15, 1)
    names = split_by_group(groups, labels, {"train": 0.8, "val": 0.0, "test": 0.2}, seed=0)
    assert set(names) == {"train", "test"}


def test_no_images_give_no_names():
    assert split_by_group([], np.zeros((0, 2), dtype=bool), FRACTIONS, seed=0) == []


@pytest.mark.parametrize(
    "fractions",
    [{}, {"train": 0.5, "val": 0.2}, {"train": 1.2, "val": -0.2}],
    ids=["none", "sum", "negative"],
)
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match=r"fractions must be at least 0 and sum to 1"):
        split_by_group([1], np.ones((1, 1), dtype=bool), fractions, seed=0)


@pytest.mark.parametrize(
    "labels", [np.ones((2, 1), dtype=bool), np.ones(3, dtype=bool)], ids=["rows", "flat"]
)
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be \(3, D\)"):
        split_by_group([1, 2, 3], labels, FRACTIONS, seed=0)
