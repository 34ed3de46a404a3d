"""The Dice loss, beside that of segmentation-models-pytorch."""

import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch.nn import functional as F

from sbp.engine.losses import DiceBce


def batch(present: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and target (4, 3, 8, 8), whose first image holds the defects `present`."""
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(4, 3, 8, 8, generator=generator), torch.zeros(4, 3, 8, 8)
    target[0, present, 2:5, 3:7] = 1
    return logits, target


def value(loss: DiceBce, logits: torch.Tensor, target: torch.Tensor, valid=None) -> torch.Tensor:
    return loss.reduce(loss.loss_map(logits, target), logits, target, valid)


@pytest.mark.parametrize("present", [[0, 1, 2], [0, 2], [1]])
def test_the_dice_is_the_librarys_over_the_defects_that_the_batch_holds(present):
    logits, target = batch(present)
    mine = value(DiceBce(dice_weight=1.0), logits, target)
    # it adds `smooth` to the overlap, which counts twice, and takes the mean over the classes that it gets
    theirs = DiceLoss("multilabel", classes=present, smooth=0.5)(logits, target)
    torch.testing.assert_close(mine, theirs)


def test_a_defect_that_the_batch_does_not_hold_gets_gradient_from_the_cross_entropy_alone():
    logits, target = batch([0])
    logits.requires_grad_()
    value(DiceBce(dice_weight=1.0), logits, target).backward()
    assert logits.grad is not None
    assert logits.grad[:, 1:].abs().max() == 0
    assert logits.grad[:, 0].abs().max() > 0


def test_over_all_defects_an_absent_one_is_told_to_be_nowhere():
    logits, target = batch([0])
    logits.requires_grad_()
    value(DiceBce(dice_weight=1.0, of_present=False), logits, target).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1:] > 0).all()


def test_a_batch_without_any_defect_has_the_cross_entropy():
    logits, target = batch([])
    loss = value(DiceBce(dice_weight=0.5), logits, target)
    torch.testing.assert_close(loss, 0.5 * F.binary_cross_entropy_with_logits(logits, target))


def test_a_weight_of_zero_takes_the_images_defects_out():
    logits, target = batch([1])
    target[1, 0, :2] = 1
    loss, weights = DiceBce(), torch.tensor([0.0, 2.0, 1.0, 1.0]).view(4, 1, 1, 1)
    weighted = loss.reduce_weighted(weights, loss.loss_map(logits, target), logits, target)
    kept = [1, 1, 2, 3]
    same = value(loss, logits[kept], target[kept])
    torch.testing.assert_close(weighted, same)
