"""Gradients of subsamples beside the whole batch's: the numbers, and that measuring them changes nothing."""

import copy
import math

import numpy as np
import pytest
import torch

from sbp.engine.gradients import GradientProbe
from sbp.metrics.similarity import cosine, equal_signs
from tests.conftest import make_trainer

PROBE = ("gradients.every=1", "gradients.batch=24", "gradients.fraction=0.25", "gradients.repeats=1")


@pytest.fixture
def trainer(toy_data):
    return make_trainer(toy_data, *PROBE, "augmentation=none")


def probe_of(trainer) -> GradientProbe:
    (probe,) = trainer.callbacks
    assert isinstance(probe, GradientProbe)
    return probe


def autograd_mean(trainer, split, indices) -> torch.Tensor:
    """The whole-batch gradient as one plain backward pass gives it."""
    model = copy.deepcopy(trainer.model).eval()
    images, masks = (torch.from_numpy(a[np.sort(indices)]) for a in (split.images, split.masks))
    logits = model(probe_of(trainer).compute.inputs(images))
    torch.nn.functional.binary_cross_entropy_with_logits(
        logits, probe_of(trainer).compute.targets(masks)[0]
    ).backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([g.reshape(-1) for g in grads])


def test_parts_in_chunks_add_up_to_the_gradient_of_the_whole_batch(trainer, toy_data):
    indices = np.arange(24)
    parts = probe_of(trainer)._sum(toy_data.train, indices)
    mine = torch.cat([g.reshape(-1) for g in parts]) / len(indices)
    torch.testing.assert_close(mine, autograd_mean(trainer, toy_data.train, indices), rtol=1e-3, atol=1e-7)


def test_measuring_leaves_model_gradients_and_random_state_alone(trainer, toy_data):
    trainer.model.train()
    before, random_before = copy.deepcopy(trainer.model.state_dict()), torch.get_rng_state()
    probe_of(trainer).measure(toy_data.train, epoch=3)
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in trainer.model.parameters())
    assert torch.equal(torch.get_rng_state(), random_before)
    assert all(module.training for module in trainer.model.modules())


def test_the_same_epoch_gives_the_same_numbers_and_another_gives_others(trainer, toy_data):
    first, again, later = (probe_of(trainer).measure(toy_data.train, epoch) for epoch in (3, 3, 4))
    assert first == again
    assert first != later


def test_every_subsample_is_compared_per_group_of_layers(trainer, toy_data):
    metrics = probe_of(trainer).measure(toy_data.train, epoch=0)
    for group in ("whole", "encoder", "decoder", "head"):
        for name in ("high", "random", "low"):
            assert -1 <= metrics[f"gradients/cosine/{name}/{group}"] <= 1
            assert 0 <= metrics[f"gradients/sign/{name}/{group}"] <= 1
    # the images of high loss are those with a defect, which the untrained model expects to be rare
    assert metrics["gradients/norm/high"] > metrics["gradients/norm/low"]


def test_training_is_the_same_with_the_probe(toy_data):
    finals = []
    for overrides in ((), PROBE):
        trainer = make_trainer(toy_data, "augmentation=none", *overrides)
        epochs = trainer.epochs()
        records = [next(epochs), next(epochs)]
        finals.append(copy.deepcopy(trainer.model.state_dict()))
    assert any(key.startswith("gradients/") for key in records[-1].metrics)
    for key in finals[0]:
        assert torch.equal(finals[0][key], finals[1][key]), key


def test_a_batch_of_one_image_is_like_itself(toy_data):
    trainer = make_trainer(toy_data, "gradients.every=1", "gradients.batch=1", "gradients.repeats=1")
    metrics = probe_of(trainer).measure(toy_data.train, epoch=0)
    for name in ("high", "random", "low"):
        assert metrics[f"gradients/cosine/{name}/whole"] == pytest.approx(1, abs=1e-5)
        assert metrics[f"gradients/sign/{name}/whole"] == 1


def test_cosine_and_signs_by_hand():
    a, b = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([4.0, 3.0, 0.0])
    assert cosine(a, b) == pytest.approx(24 / 25)
    assert cosine(a, -a) == pytest.approx(-1)
    assert math.isnan(cosine(a, torch.zeros(3)))
    # the coordinate that is 0 in both says nothing; 0 in one alone counts as different
    assert equal_signs(torch.tensor([1.0, -1, 2, 0, 0]), torch.tensor([2.0, 1, 3, 0, 1])) == pytest.approx(
        2 / 4
    )
    assert math.isnan(equal_signs(torch.zeros(2), torch.zeros(2)))
