"""From scores to what is annotated next."""

import numpy as np
import pytest
import torch

from sbp.mine import ranking, stratified_ranking, within_budget
from sbp.mine.choose import strata_of
from sbp.mine.scores import AGGREGATIONS, bald, entropy, expected_defects, healthy_loss, names_of, scores_of

LN2 = float(np.log(2))


def nothing_alike(numbers):
    return {}


def test_the_highest_come_first_and_ties_by_number():
    assert ranking(np.array([0.1, 0.5, 0.5, 0.9])).tolist() == [3, 1, 2, 0]


def test_strata_take_turns_and_within_one_a_sharp_draw_is_the_ranking():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    strata = np.array([-1, -1, -1, -1, 0, 1])
    order = stratified_ranking(scores, strata, 1e6, np.random.default_rng(0))
    assert order.tolist() == [4, 5, 0, 1, 2, 3]  # one of each first, then what is left of the largest


def test_power_noise_draws_in_proportion_to_the_powers_of_scores():
    """Gumbel's trick: the first of the order is image i with probability s_i ** power / sum."""
    scores, rng = np.array([0.1, 0.2, 0.4]), np.random.default_rng(0)
    first = [stratified_ranking(scores, np.zeros(3), 2.0, rng)[0] for _ in range(4000)]
    expected = scores**2 / (scores**2).sum()
    np.testing.assert_allclose(np.bincount(first, minlength=3) / 4000, expected, atol=0.025)


def test_an_image_belongs_to_the_defect_that_the_model_is_surest_of():
    highest = np.array([[0.2, 0.4], [0.9, 0.6], [0.1, 0.5]])
    assert strata_of(highest).tolist() == [-1, 0, 1]


def test_the_budget_is_one_of_images_or_of_defects():
    expected = np.array([0.5, 0.0, 1.0, 2.0])
    assert within_budget([3, 2, 1, 0], expected, 2, None, nothing_alike).chosen == [3, 2]
    assert within_budget([0, 1, 2, 3], expected, None, 1.2, nothing_alike).chosen == [0, 1, 2]
    assert within_budget([0, 1, 2, 3], expected, None, None, nothing_alike).chosen == [0, 1, 2, 3]
    assert within_budget([0, 1], expected, 9, None, nothing_alike).chosen == [0, 1]


def test_what_looks_like_a_chosen_image_is_passed_over():
    asked = []

    def alike(numbers):
        asked.append(list(numbers))
        return {0: [1], 1: [0, 2], 2: [1]}

    choice = within_budget(list(range(100)), np.ones(100), 3, None, alike)
    assert choice.chosen == [0, 2, 3]  # 2 looks like 1 alone, which is not chosen
    assert choice.duplicate_of == {1: 0}
    assert asked == [[0, 1, 2, 3, 4, 5]]  # no more images are read than needed


def test_scores_are_what_their_formulas_say():
    p = torch.tensor([[[[0.5, 0.0], [0.0, 1.0]]]])
    assert entropy(p).flatten().tolist() == pytest.approx([LN2, 0, 0, 0], abs=1e-4)
    assert healthy_loss(p)[0, 0, 0].tolist() == pytest.approx([LN2, 0], abs=1e-5)
    assert healthy_loss(p).max() > 13
    agree = torch.full((4, 1, 1, 2, 2), 0.3)
    assert bald(agree).abs().max() < 1e-6
    apart = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1)
    assert bald(apart).item() == pytest.approx(LN2, abs=1e-4)


def test_a_small_defect_does_not_drown_but_in_a_mean():
    p = torch.zeros(2, 1, 50, 50)
    p[1, 0, :5, :5] = 0.5
    columns = dict(zip(names_of(["dent"], 0), scores_of(p).T.tolist(), strict=True))
    assert columns["entropy/topk_mean/dent"][1] == pytest.approx(LN2, abs=1e-3)
    assert columns["entropy/max/dent"][1] == pytest.approx(LN2, abs=1e-3)
    assert columns["entropy/mean/dent"][1] == pytest.approx(LN2 / 100, rel=0.01)
    assert set(AGGREGATIONS) == {"max", "mean", "topk_mean"}


def test_expected_defects_are_regions_by_their_mean_probability():
    p = torch.zeros(1, 2, 20, 20)
    p[0, 0, 2:6, 2:6], p[0, 0, 10:14, 10:14], p[0, 1, 0, 0:2] = 0.9, 0.6, 0.9
    assert expected_defects(p)[0].tolist() == pytest.approx([1.5, 0.0])  # the speck does not count
