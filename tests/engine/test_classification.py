"""Classifiers, their loss, their metrics, and what a config of classification may hold."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sbp.build.trainer import build_aggregations, build_model
from sbp.data.dataset import Split
from sbp.engine.classification import ClassEvaluator
from sbp.engine.device import Compute
from sbp.engine.losses import CrossEntropy
from sbp.engine.resnet import SmallResNet
from sbp.engine.scoring import aggregate_all
from sbp.errors import UserError
from sbp.metrics.tasks import TASKS, task_of, task_of_metrics
from tests.conftest import make_config

LOSS = CrossEntropy()


def one_hot(classes: torch.Tensor, count: int) -> torch.Tensor:
    return F.one_hot(classes, count).float()[:, :, None, None]


def test_the_loss_is_torchs_and_stands_in_the_channel_of_the_class():
    logits, classes = torch.randn(6, 4, 1, 1) * 3, torch.tensor([0, 3, 2, 2, 1, 0])
    expected = F.cross_entropy(logits[:, :, 0, 0], classes, reduction="none")
    target = one_hot(classes, 4)
    loss_map = LOSS.loss_map(logits, target)
    torch.testing.assert_close(loss_map.sum(dim=(1, 2, 3)), expected)
    torch.testing.assert_close(loss_map[range(6), classes, 0, 0], expected)
    torch.testing.assert_close(LOSS.reduce(loss_map, logits, target), expected.mean())
    weights = torch.tensor([1.0, 2, 0, 1, 1, 1]).view(-1, 1, 1, 1)
    weighted = LOSS.reduce_weighted(weights, loss_map, logits, target)
    torch.testing.assert_close(weighted, (expected * weights.flatten()).mean())
    (scores,) = aggregate_all(build_aggregations(make_config("data=mnist_small")), loss_map, target)
    torch.testing.assert_close(scores.amax(dim=1), expected)


def test_gradients_are_those_of_the_mean_cross_entropy():
    logits = torch.randn(5, 3, 1, 1, requires_grad=True)
    classes = torch.tensor([0, 1, 2, 1, 0])
    target = one_hot(classes, 3)
    (found,) = torch.autograd.grad(LOSS.reduce(LOSS.loss_map(logits, target), logits, target), logits)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits[:, :, 0, 0], classes), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("model", ["resnet8", "timm"])
def test_classifiers_give_a_logit_for_each_class(model):
    config = make_config("data=cifar10", f"model={model}")
    network = build_model(config, 10)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10, 1, 1)


def test_the_small_network_has_eight_layers_and_twelve_million_multiplications():
    network, count = SmallResNet(3, 10), 0

    def counted(module, inputs, output):
        nonlocal count
        count += module.weight.numel() * output.shape[2] * output.shape[3]

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(counted)
    network(torch.zeros(1, 3, 32, 32))
    assert sum(module.kernel_size == (3, 3) for module in convolutions) + 1 == 8
    assert 11e6 < count < 13e6
    assert 70_000 < sum(p.numel() for p in network.parameters()) < 80_000


def test_an_encoder_that_timm_does_not_know_is_one_line():
    with pytest.raises(UserError, match=r"^model\.encoder=resnet17: must be the name of a timm model \("):
        build_model(make_config("data=mnist_small", "model=timm", "model.encoder=resnet17"), 10)


class Fixed(nn.Module):
    """Says the class that the first pixel is the number of."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return F.one_hot(images[:, 0, 0, 0].round().long(), 3).float()[:, :, None, None] * self.scale


def test_metrics_are_those_of_a_count_by_hand():
    said, classes = np.array([0, 1, 1, 0, 0], np.uint8), np.array([0, 1, 0, 0, 1])
    images = np.zeros((5, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = said
    masks = np.eye(3, dtype=np.uint8)[classes][:, None, None]
    split = Split(images, masks, None, masks[:, 0, 0] > 0, list("abcde"), [""] * 5)
    compute = Compute("cpu", False, (0.0,), (1 / 255,))
    metrics = ClassEvaluator(["x", "y", "z"], LOSS, compute, batch_size=2).evaluate(Fixed(), split, "val")
    assert metrics["val/accuracy"] == pytest.approx(3 / 5)
    assert metrics["val/error"] == pytest.approx(2 / 5)
    assert metrics["val/accuracy/x"] == pytest.approx(2 / 3)
    assert metrics["val/accuracy/y"] == pytest.approx(1 / 2)
    assert np.isnan(metrics["val/accuracy/z"])
    right, wrong = np.log(np.e + 2) - 1, np.log(np.e + 2)
    assert metrics["val/loss"] == pytest.approx((3 * right + 2 * wrong) / 5)


def test_a_task_says_what_its_runs_are_judged_by():
    assert task_of(LOSS).validated == "val/accuracy"
    assert task_of(object()) is TASKS["segmentation"]
    assert task_of_metrics({"test/accuracy": 1}).title == "accuracy"
    assert task_of_metrics({}).tested == "test/map"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=cross_entropy"], "data=inspection is for segmentation, .*loss=cross_entropy is for class"),
        (["model=resnet8"], "model=resnet8 is for classification, loss=bce is for segmentation: must all"),
        (["data=mnist_small", "loss=bce"], "data=mnist_small is for classification, .* must all be for one"),
        (["data=mnist_small", "aggregation=shift"], "aggregation=shift: must be max or mean with loss=cross"),
        (["data=mnist_small", "scoring.scale_factor=0.5"], r"scoring\.scale_factor=0\.5: must be 1"),
        (["data=mnist_small", "labelling.by=random"], r"labelling\.by=random: must be null with loss="),
        (["data=mnist_small", "data.channels=2"], r"data\.channels=2: must be 1 \(grey\) or 3 \(colour\)"),
        (
            ["data=mnist_small", "data.val_fraction=0"],
            r"data\.val_fraction=0\.0: must be above 0 and below 1",
        ),
        (["data=mnist_small", "data.val_fraction=0.9"], r"below 1 together with test_fraction=0\.2"),
        (["data=mnist_small", "selection=jiang", "selection.history=0"], r"selection\.history=0: must be at"),
    ],
)
def test_what_does_not_go_together_is_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        make_config(*overrides)
    assert "\n" not in str(caught.value)
