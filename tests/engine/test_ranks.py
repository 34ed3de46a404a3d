"""Several processes that train one model: they are one process, but for rounding."""

import copy
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn

from sbp.build.trainer import check_loss
from sbp.engine.batch_norm import SharedBatchNorm, share_batch_norm
from sbp.engine.losses import Bce, SegmentationLoss
from sbp.engine.ranks import ALONE, Ranks
from sbp.errors import UserError
from tests.processes import start

# with Adam, rounding would decide about the sign of steps along directions without a gradient
STEADY = ("optimizer=sgd", "optimizer.lr=0.001", "optimizer.momentum=0", "budget.compute=null")
numbers = itertools.count()


def processes(folder: Path, kind: str, count: int, *overrides: str) -> list[dict[str, np.ndarray]]:
    """What each of `count` processes found."""
    name = f"{kind}-{count}-{next(numbers)}"
    results = [folder / f"{name}-{rank}.npz" for rank in range(count)]
    started = [
        start(
            "tests.engine.rank_program",
            *(str(rank), str(count), str(folder / name), str(result), kind, *overrides),
            output=folder,
            log=result.with_suffix(".txt"),
            GLOO_SOCKET_IFNAME="lo",
        )
        for rank, result in enumerate(results)
    ]
    for process in started:
        assert process.wait() == 0, process.log.read_text()[-3000:]
    return [dict(np.load(result)) for result in results]


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def assert_one_process(found: list[dict], alone: dict, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """All ranks have the same bits, and what a single process has: what was drawn and when, exactly; weights,
    scores and metrics within rounding."""
    for other in found[1:]:
        assert_equal(found[0], other)
    assert found[0].keys() == alone.keys()
    for key, expected in alone.items():
        if expected.dtype.kind in "iub":
            np.testing.assert_array_equal(found[0][key], expected, err_msg=key)
        else:
            np.testing.assert_allclose(found[0][key], expected, rtol, atol, err_msg=key)


CASES = {
    "two": (2, "staleness=every_epoch", "beta=b2"),
    # at beta 32 an epoch is two images: one of three ranks has none of them
    "three, one without an image": (3, "staleness=every_epoch", "beta=b32", "budget.epochs=6"),
    "scores written back": (3, "staleness=reuse", "beta=b2"),
    "moved images": (2, "aggregation=shift", "staleness=stale_smart", "staleness.every=2", "beta=b2"),
    "an encoder with more stages than are used": (2, "model.encoder=resnet18", "selection=none"),
    "weighted images": (3, "arm=infobatch", "loss=dice_bce"),
    "upsampled": (2, "selection=none", "upsampling=rare", "scoring.monitor_every=2"),
}


QUICK = ("two", "three, one without an image")


def slowly(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("case", slowly(CASES, QUICK))
def test_ranks_draw_the_same_and_end_with_the_weights_of_one_process(tmp_path, case):
    count, *overrides = CASES[case]
    overrides = [*STEADY, "budget.epochs=4", *overrides]
    (alone,) = processes(tmp_path, "fit", 1, *overrides)
    assert len([key for key in alone if key.startswith("draw")]) >= 4
    assert_one_process(processes(tmp_path, "fit", count, *overrides), alone)


@pytest.mark.parametrize("loss", slowly(["bce", "focal", "dice_bce", "ohem_bce"], ["dice_bce"]))
def test_the_gradient_is_that_of_the_whole_batch_whatever_each_rank_has_of_it(tmp_path, loss):
    """Ten images for three ranks: four, three and three of them, some with void pixels; the mean of the
    ranks' own gradients would be another."""
    overrides = [f"loss={loss}", "trainer.batch_size=10"]
    (alone,) = processes(tmp_path, "gradients", 1, *overrides)
    found = processes(tmp_path, "gradients", 3, *overrides)
    assert_equal(found[0], found[1])
    assert_equal(found[0], found[2])
    for key, expected in alone.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[0][key], expected, rtol=1e-3, atol=1e-4 * scale, err_msg=key)


@pytest.mark.slow
def test_evaluation_is_exact(tmp_path):
    """Image by image, so that the network rounds alike: not a bit differs."""
    (alone,) = processes(tmp_path, "evaluate", 1, "evaluation.batch_size=1")
    found = processes(tmp_path, "evaluate", 3, "evaluation.batch_size=1")
    assert 0 < alone["val/pixel_ap"] < 1
    for rank in found:
        for key in alone:
            if "loss" in key:  # a sum in another order
                np.testing.assert_allclose(rank[key], alone[key], rtol=1e-12)
            else:
                np.testing.assert_array_equal(rank[key], alone[key], err_msg=key)


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A group that this process is alone in, for what needs one."""
    monkeypatch.setitem(os.environ, "GLOO_SOCKET_IFNAME", "lo")
    store = distributed.FileStore(str(tmp_path / "meeting"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    monkeypatch.setattr("sbp.engine.ranks._batch_is_shared", True)
    yield
    distributed.destroy_process_group()


class WithActivation(nn.BatchNorm2d):
    """A layer that applies its activation itself, as timm's BatchNormAct2d."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, input):
        return self.act(self.drop(super().forward(input)))


LAYERS = {
    "plain": nn.BatchNorm2d(5),
    "with its activation": WithActivation(5),
    "without weights": nn.BatchNorm2d(5, affine=False),
    "running mean of all batches": nn.BatchNorm2d(5, momentum=None),
    "nothing tracked": nn.BatchNorm2d(5, track_running_stats=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_shared_batch_norm_is_batch_norm(group, name):
    layer = copy.deepcopy(LAYERS[name])
    if layer.weight is not None:
        nn.init.uniform_(layer.weight, 0.5, 2.0)
        nn.init.uniform_(layer.bias, -1.0, 1.0)
    shared = SharedBatchNorm(copy.deepcopy(layer))
    for _ in range(3):  # running statistics are another centre each time
        images = torch.randn(4, 5, 6, 7) * 3 + 10
        ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
        weights = torch.randn(4, 5, 6, 7)
        (shared(ours) * weights).sum().backward()
        (layer(theirs) * weights).sum().backward()
        torch.testing.assert_close(shared(images), layer(images))
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    if layer.weight is not None:
        torch.testing.assert_close(shared.weight.grad, layer.weight.grad, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(shared.bias.grad, layer.bias.grad, rtol=1e-4, atol=1e-3)
    assert shared.state_dict().keys() == layer.state_dict().keys()
    for key, value in layer.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[key], value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.eval()(images), layer.eval()(images))


def test_every_batch_norm_of_a_model_is_replaced_and_checkpoints_fit(group):
    from sbp.engine.models import Smp

    model = Smp("unet", "tu-resnet10t", 3, decoder_channels=[16, 8, 8]).build(1, 2)
    names, before = list(model.state_dict()), list(model.parameters())
    share_batch_norm(model)
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(layers) > 10
    assert all(isinstance(layer, SharedBatchNorm) for layer in layers)
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))  # the optimizer's, too


def test_items_are_shared_out_and_come_back_in_order(monkeypatch):
    items = np.arange(14).reshape(7, 2)
    ranks = [Ranks(rank, 3) for rank in range(3)]
    parts = [items[r.share] for r in ranks]
    assert [len(part) for part in parts] == [3, 2, 2]
    monkeypatch.setattr(Ranks, "gather", lambda self, rows: parts)
    for rank in ranks:
        np.testing.assert_array_equal(rank.together(parts[rank.rank]), items)
    np.testing.assert_array_equal(items[ALONE.share], items)


class Halved(Bce):
    """A loss whose sums nobody has thought about."""

    name = "halved"

    def reduce(self, loss_map, logits, target, valid=None):
        return loss_map.mean() / 2


def test_a_loss_that_adds_up_on_its_own_is_refused():
    class Knows(Halved):
        sums_over_ranks = True

        def reduce(self, loss_map, logits, target, valid=None):
            return super().reduce(loss_map, logits, target, valid)

    class OnlyAMap(SegmentationLoss):
        name = "only a map"

        def loss_map(self, logits, target):
            return logits * 0

    check_loss(Knows())
    check_loss(OnlyAMap())
    with pytest.raises(UserError, match=r"loss=halved.*batch_sum.*Halved say so with sums_over_ranks"):
        check_loss(Halved())
