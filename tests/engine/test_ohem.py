"""Online hard example mining: which pixels the loss is taken of, as the published code takes them."""

import pytest
import torch
from torch.nn import functional as F

from sbp.engine.losses import OhemBce
from tests.conftest import make_config

LOGITS = torch.tensor([3.1, -0.4, 1.7, 0.2, -2.6, 0.9, 4.4, -1.2, 2.3, -3.8, 0.6, -0.1])
TARGET = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0])
VOID = (3, 7)
SELECTED = {
    # pixels that are void, min_kept in pixels: those of weight 1
    ((), 2): [1, 3, 5, 10, 11],
    ((), 4): [1, 3, 5, 10, 11],
    ((), 6): [1, 3, 5, 7, 10, 11],
    ((), 9): [1, 2, 3, 4, 5, 7, 8, 10, 11],
    (VOID, 2): [1, 5, 10, 11],
    (VOID, 4): [1, 5, 10, 11],
    (VOID, 6): [1, 2, 5, 8, 10, 11],
    (VOID, 9): [0, 1, 2, 4, 5, 8, 9, 10, 11],
}
"""What OHEMPixelSampler(thresh=0.7) of open-mmlab/mmsegmentation, commit 230246f, selects of one image whose
two classes have the logits 0 and LOGITS: their softmax is our sigmoid."""


def one_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, 1, 1, -1)


@pytest.mark.parametrize(("void", "min_kept"), SELECTED)
def test_pixels_are_those_that_mmsegmentation_selects(void, min_kept):
    valid = torch.ones(12, dtype=torch.bool)
    valid[list(void)] = False
    loss = OhemBce(threshold=0.7, min_kept=min_kept / int(valid.sum()))
    given = one_image(valid) if void else None
    hard = loss.is_hard(one_image(LOGITS), one_image(TARGET), given)
    assert hard.flatten().nonzero().flatten().tolist() == SELECTED[void, min_kept]


def test_the_loss_is_the_mean_of_the_hard_pixels_and_the_map_that_scores_see_is_whole():
    loss, logits, target = OhemBce(min_kept=0.5), one_image(LOGITS), one_image(TARGET).float()
    loss_map = loss.loss_map(logits, target)
    torch.testing.assert_close(
        loss_map, F.binary_cross_entropy_with_logits(logits, target, reduction="none"), rtol=0, atol=0
    )
    value = loss.reduce(loss_map, logits, target)
    # cross_entropy of the two classes of pixels 1, 3, 5, 7, 10, 11, by torch
    expected = (0.513015 + 0.598139 + 1.241154 + 0.263282 + 0.437488 + 0.644397) / 6
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_each_image_has_its_own_hardest_pixels_whatever_it_shares_a_batch_with():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 8, 8, generator=rng) * torch.tensor([0.1, 3, 9]).view(3, 1, 1, 1)
    target = (torch.rand(3, 2, 8, 8, generator=rng) < 0.3).float()
    loss = OhemBce(threshold=0.0, min_kept=0.25)
    together = loss.is_hard(logits, target)
    assert together.sum(dim=(1, 2, 3)).tolist() == [32] * 3
    for i in range(3):
        alone = loss.is_hard(logits[i : i + 1], target[i : i + 1])
        assert torch.equal(together[i : i + 1], alone)


def test_pixels_that_are_surely_right_still_have_an_order():
    """Probabilities of 1 - 1e-9 and 1 - 1e-12 are both 1 in single precision."""
    logits = one_image(torch.tensor([28.0, 21.0, 35.0, 24.0]))
    hard = OhemBce(min_kept=0.5).is_hard(logits, torch.ones_like(logits))
    assert hard.flatten().tolist() == [False, True, False, True]


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 1), (1.0, 12)])
def test_thresholds_at_the_ends_take_one_pixel_or_all(threshold, kept):
    loss = OhemBce(threshold, min_kept=0.0)
    assert loss.is_hard(one_image(LOGITS), one_image(TARGET)).sum() == kept


def test_the_arm_trains_on_every_image():
    config = make_config("arm=ohem_bce")
    assert (config.loss.name, config.selection.name) == ("ohem_bce", "none")
    assert (config.loss.threshold, config.loss.min_kept) == (0.7, 0.19)
