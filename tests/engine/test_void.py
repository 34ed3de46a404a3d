"""Pixels of which nobody says what they show count neither for loss, score nor metrics."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sbp.data.source import VOID
from sbp.engine.losses import LOSSES
from sbp.selection.aggregation import AGGREGATIONS
from tests.conftest import make_trainer

SIDE = 32


@pytest.fixture
def batch():
    """Logits, target and valid pixels (2, 2, SIDE, SIDE); the left third of the first image is void."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, SIDE, SIDE, generator=rng)
    target = (torch.rand(2, 2, SIDE, SIDE, generator=rng) < 0.1).float()
    valid = torch.ones(2, 2, SIDE, SIDE, dtype=torch.bool)
    valid[0, :, :, : SIDE // 3] = False
    target[~valid] = 0.0
    return logits, target, valid


def test_masks_say_which_pixels_count(toy_data):
    compute = make_trainer(toy_data).compute
    masks = torch.zeros(1, 4, 4, 2, dtype=torch.uint8)
    masks[0, 0, 0, 0] = 1
    target, valid = compute.targets(masks)
    assert valid is None
    assert target.sum() == 1
    masks[0, 3, 3] = VOID
    target, valid = compute.targets(masks)
    assert target.sum() == 1
    assert valid.shape == (1, 2, 4, 4)
    assert (~valid).nonzero().tolist() == [[0, 0, 3, 3], [0, 1, 3, 3]]


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_have_no_gradient_and_no_weight(batch, name):
    logits, target, valid = batch
    loss = LOSSES[name]()

    def value_and_gradient(logits, target, valid):
        logits = logits.clone().requires_grad_()
        value = loss.reduce(loss.loss_map(logits, target), logits, target, valid)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    value, gradient = value_and_gradient(logits, target, valid)
    assert (gradient[~valid] == 0).all()
    assert (gradient[valid] != 0).any()
    elsewhere = torch.where(valid, logits, torch.tensor(30.0))
    other, other_gradient = value_and_gradient(elsewhere, target, valid)
    torch.testing.assert_close(other, value)
    torch.testing.assert_close(other_gradient[valid], gradient[valid])
    # without its void third, the first image alone has the same loss
    cut = slice(SIDE // 3, None)
    alone = [part[:1, :, :, cut] for part in (logits, target)]
    expected, _ = value_and_gradient(*alone, None)
    torch.testing.assert_close(value_and_gradient(logits[:1], target[:1], valid[:1])[0], expected)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_no_score_sees_a_void_pixel(batch, name):
    logits, target, valid = batch
    aggregation = AGGREGATIONS[name](k=5) if name == "topk_mean" else AGGREGATIONS[name]()
    loss_map = LOSSES["bce"]().loss_map(logits, target)
    score = aggregation(loss_map, target, valid)
    raised = torch.where(valid, loss_map, torch.tensor(99.0))
    torch.testing.assert_close(aggregation(raised, target, valid), score)
    assert (aggregation(raised, target) > score)[0].all() or name == "maskdefectborders"


def with_void(data, columns: slice):
    """The toy set, in all of whose validation and training images these columns are void."""
    splits = {}
    for name, split in data.splits.items():
        masks = np.array(split.masks)
        masks[:, :, columns] = VOID
        images = np.array(split.images)
        images[:, :, columns] = 0
        splits[name] = replace(split, masks=masks, images=images)
    return replace(data, splits=splits)


@pytest.mark.parametrize(
    "overrides", [(), ("aggregation=shift",), ("scoring.scale_factor=0.5",), ("loss=focal",)]
)
def test_a_run_is_the_same_whatever_is_said_of_void_pixels(toy_data, overrides):
    """Trained with void columns, and with the same columns once annotated and once not: only the void ones
    count for nothing."""
    columns = slice(0, 10)
    void = with_void(toy_data, columns)
    trainer = make_trainer(void, "budget.epochs=2", *overrides)
    records = list(trainer.epochs())
    assert np.isfinite([record.metrics["train/loss"] for record in records]).all()
    scores = trainer.scorer.score(void.train, np.arange(20), epoch=5)
    assert np.isfinite(scores).all()
    maps = trainer.scorer.loss_maps(void.train, np.arange(4))
    assert (maps.losses[:, :, :, columns] == 0).all()
    assert (maps.losses[:, :, :, 12:] > 0).any()


def test_metrics_do_not_see_void_pixels(toy_data):
    trainer = make_trainer(toy_data)
    columns = slice(0, 10)
    shown = with_void(toy_data, columns).splits["val"]

    class Everywhere(torch.nn.Module):
        """Finds a defect everywhere in the void columns, nothing elsewhere."""

        def __init__(self, found: float):
            super().__init__()
            self.found = found

        def forward(self, x):
            logits = torch.full((len(x), 1, *x.shape[2:]), -4.0).repeat(1, len(toy_data.defects), 1, 1)
            logits[:, :, :, columns] = self.found
            return logits

    loud = trainer.evaluator.evaluate(Everywhere(9.0), shown, "val")
    silent = trainer.evaluator.evaluate(Everywhere(-9.0), shown, "val")
    assert loud == pytest.approx(silent, nan_ok=True)
    known = trainer.evaluator.evaluate(Everywhere(9.0), toy_data.splits["val"], "val")
    assert known["val/loss"] > loud["val/loss"] + 1
