"""Which images come next: rules by what a model says of them."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from sbp.data.source import VOID
from sbp.steps.acquisition import _loss_map, acquired, in_turns, regions_outlined


@dataclass
class FakePool:
    """Four images, two defects; each column of scores is given."""

    columns: dict[str, list[list[float]]] = field(default_factory=dict)
    true_losses: list[list[float]] = field(default_factory=list)
    numbers: np.ndarray = field(default_factory=lambda: np.arange(4))

    def column(self, score: str) -> np.ndarray:
        return np.array(self.columns[score])

    def losses(self, aggregation: str) -> np.ndarray:
        return np.array(self.true_losses)


def order_of(rule: str, pool: FakePool, seed: int = 0) -> list[int]:
    return acquired(rule, pool, "max", 1e6, np.random.default_rng(seed)).tolist()


def test_the_most_doubtful_come_first_by_the_defect_that_is_most_in_doubt():
    pool = FakePool({"entropy/max": [[0.1, 0.2], [0.6, 0.0], [0.0, 0.7], [0.3, 0.3]]})
    assert order_of("entropy", pool) == [2, 1, 3, 0]


def test_as_if_healthy_looks_for_what_the_model_calls_a_defect():
    pool = FakePool({"healthy_loss/max": [[5.0, 0.0], [0.1, 0.2], [0.0, 0.4], [0.3, 6.0]]})
    assert order_of("healthy_loss", pool) == [3, 0, 2, 1]


def test_the_oracle_ranks_by_the_true_loss():
    assert order_of("oracle", FakePool(true_losses=[[1, 0], [0, 4], [3, 3], [2, 0]])) == [1, 2, 3, 0]


def test_defects_take_turns_and_the_rarest_begins():
    """Image 3 is the only one with the second defect, 1 and 2 show the first, 0 none."""
    pool = FakePool(
        {
            "entropy/max": [[0.4, 0], [0.6, 0], [0.5, 0], [0.1, 0]],
            "highest": [[0.1, 0.1], [0.9, 0.1], [0.8, 0.1], [0.1, 0.7]],
        }
    )
    order = order_of("stratified", pool)
    assert sorted(order[:3]) == [0, 1, 3]
    assert order[3] == 2


def test_every_other_one_shows_a_predicted_defect_as_long_as_there_are_some():
    preferred = np.zeros(100, dtype=bool)
    preferred[[3, 50, 97]] = True
    orders = [in_turns(preferred, np.random.default_rng(seed)) for seed in range(50)]
    for order in orders:
        assert sorted(order) == list(range(100))
        assert preferred[order[0]]
        assert preferred[order[:6]].sum() == 3
    assert len({order[0] for order in orders}) == 3
    blind = in_turns(np.zeros(5, dtype=bool), np.random.default_rng(0))
    assert sorted(blind) == list(range(5))


def test_random_images_are_other_ones_for_another_seed_alone():
    orders = [tuple(order_of("random", FakePool(numbers=np.arange(30)), seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_true_loss_is_the_cross_entropy_where_something_is_known():
    p = torch.tensor([0.2, 0.9, 0.5]).view(1, 1, 1, 3)
    masks = torch.tensor([0, 1, VOID], dtype=torch.uint8).view(1, 1, 1, 3)
    losses, target, known = _loss_map(p, masks)
    torch.testing.assert_close(losses[..., :2].flatten(), -torch.tensor([0.8, 0.9]).log())
    assert target.flatten().tolist() == [0, 1, 0]
    assert known.flatten().tolist() == [True, True, False]


@pytest.mark.parametrize(("images", "count"), [([0], 3), ([1], 0), ([0, 1], 3)])
def test_outlined_regions_are_counted_for_each_defect(images, count):
    masks = np.zeros((2, 8, 8, 2), dtype=np.uint8)
    masks[0, 0, 0, 0] = masks[0, 1, 1, 0] = 1  # corner to corner: one
    masks[0, 6, 6, 0] = 1
    masks[0, 6, 6, 1] = 1  # the same place as another defect
    masks[1, :, :, 0] = VOID

    @dataclass
    class Masks:
        masks: np.ndarray

    assert regions_outlined(Masks(masks), np.array(images)) == count
