"""Choosing inside a batch: Composer's rule, as its published code has it, and what it costs a run."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sbp.data.loader import Batch
from sbp.engine.callbacks import Callback
from sbp.engine.in_batch import ChosenImages
from sbp.engine.losses import Bce
from sbp.engine.ranks import Ranks
from sbp.engine.snapshot import restore, snapshot
from sbp.run.state import load_state, save_state
from sbp.selection import Composer, InBatch
from tests.conftest import make_trainer
from tests.selection.test_policies import rng

ARM = ("arm=composer",)
ALL = ("selection.start=0", "selection.end=1", "selection.interrupt=0")
LOSSES_OF_IMAGES = np.array([0.33, 0.05, 1.74, 0.28, 0.47, 0.09, 0.62, 0.31], dtype=np.float32)
# mosaicml/composer 0.33.0.dev0, commit 6405188: select_using_loss for these losses
PUBLISHED = {
    # keep: images kept, chance of each rank from the lowest, how often each image in 40,000 batches
    0.5: (
        4,
        [0.015625, 0.046875, 0.078125, 0.109375, 0.140625, 0.171875, 0.203125, 0.234375],
        [23685, 3479, 31312, 15397, 26929, 9790, 29324, 20084],
    ),
    0.25: (
        2,
        [0.000123031, 0.00332185, 0.0153789, 0.0421998, 0.0896900, 0.163755, 0.270300, 0.415231],
        [8561, 7, 28565, 1496, 14505, 340, 22481, 4045],
    ),
    0.8: (
        6,
        [0.0777724, 0.102354, 0.116297, 0.126503, 0.134706, 0.141636, 0.147677, 0.153055],
        [31313, 23289, 32991, 29468, 32286, 27614, 32555, 30484],
    ),
}


@pytest.mark.parametrize("keep", PUBLISHED)
def test_images_are_drawn_with_the_chances_of_the_published_code(keep):
    size, chances, published = PUBLISHED[keep]
    policy, counts, trials, generator = Composer(keep), np.zeros(8, dtype=int), 8000, rng(2)
    np.testing.assert_allclose(policy.rank_weights(8), chances, rtol=1e-5)
    for _ in range(trials):
        chosen = policy.choose(LOSSES_OF_IMAGES, generator)
        assert len(set(chosen.tolist())) == len(chosen) == size
        counts[chosen] += 1
    for found, expected in zip(counts, published, strict=True):
        p = expected / 40_000
        deviation = np.sqrt(p * (1 - p) * (1 / trials + 1 / 40_000))  # of the difference of two counts
        assert abs(found / trials - p) < 4 * deviation + 1 / trials


@pytest.mark.parametrize(
    ("progress", "batches"),
    # should_selective_backprop for batches 0 to 4
    [(0.0, "00000"), (0.49, "00000"), (0.5, "10101"), (0.7, "10101"), (0.8999, "10101"), (0.9, "00000")],
)
def test_batches_are_chosen_from_when_the_published_code_does(progress, batches):
    policy = Composer()
    assert "".join(str(int(policy.chooses(step, progress))) for step in range(5)) == batches


@pytest.mark.parametrize(("interrupt", "batches"), [(3, "1101101"), (0, "1111111"), (1, "0000000")])
def test_every_so_manyth_batch_is_plain(interrupt, batches):
    policy = Composer(interrupt=interrupt)
    assert "".join(str(int(policy.chooses(step, 0.6))) for step in range(7)) == batches


@pytest.mark.parametrize(("number", "kept"), [(1, 1), (2, 2), (3, 2), (16, 8), (17, 8)])
def test_at_least_two_images_are_kept_where_there_are_two(number, kept):
    assert len(Composer().choose(np.arange(number, dtype=np.float32), rng())) == kept


def test_the_batch_holds_the_chosen_images_and_the_model_is_left_alone(toy_data):
    trainer = make_trainer(toy_data, *ARM, *ALL)
    trainer.model.train()
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    batch = next(trainer.loader.epoch(0, np.arange(16)))

    class Hardest(Composer):
        def choose(self, losses, rng):
            self.losses = losses
            return np.argsort(-losses)[:5]

    trainer.in_batch.policy = policy = Hardest(start=0, end=1)
    chosen, forwarded = trainer.in_batch(batch, 0, 0, 0.5)
    assert (forwarded, len(chosen.indices)) == (16, 5)
    trainer.model.eval()
    with torch.no_grad():
        target = trainer.compute.targets(batch.masks)[0]
        losses = F.binary_cross_entropy_with_logits(
            trainer.model(trainer.compute.inputs(batch.images)), target, reduction="none"
        ).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(policy.losses, losses.numpy(), rtol=1e-5)
    assert set(chosen.indices) == set(batch.indices[losses.argsort(descending=True)[:5].numpy()])
    for image, index in zip(chosen.images, chosen.indices, strict=True):
        assert torch.equal(image, batch.images[batch.indices.tolist().index(index)])
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_ranks_choose_the_same_and_keep_what_they_have_of_it(monkeypatch):
    parts = [np.array([0.1, 0.9, 0.5], np.float32), np.array([0.8, 0.2], np.float32)]
    monkeypatch.setattr(Ranks, "gather", lambda self, rows: parts)

    class Two(InBatch):
        def chooses(self, step, progress):
            return True

        def choose(self, losses, rng):
            return np.argsort(-losses)[:3]  # of 0.1 0.8 0.9 0.2 0.5: those at 1, 2 and 4

    for rank, here in ((0, [1, 2]), (1, [0])):
        choice = ChosenImages(Two(), torch.nn.Identity(), Bce(), None, ranks=Ranks(rank, 2))
        monkeypatch.setattr(choice, "_losses", lambda batch: parts[0])
        rows = torch.arange(len(parts[rank]))
        chosen, _ = choice(Batch(rows, rows, np.array([50, 51, 52, 53, 54])), 0, 0, 0.0)
        assert chosen.indices.tolist() == [51, 52, 54]
        assert chosen.images.tolist() == chosen.masks.tolist() == here


def test_the_forward_pass_is_paid_and_the_kept_share_is_what_was_trained_on(toy_data):
    trainer = make_trainer(toy_data, *ARM, "budget.epochs=10", "budget.compute=null", "trainer.batch_size=10")
    records = list(trainer.epochs())
    phi = trainer.ledger.model_cost.phi
    costs = np.diff([0.0] + [record.metrics["cost/baseline_epochs"] for record in records])
    kept = np.array([record.metrics["train/kept_fraction"] for record in records])
    scored = np.array([record.metrics["cost/scored_fraction"] for record in records])
    np.testing.assert_allclose(costs, kept + scored * phi, rtol=1e-9)
    # six batches an epoch, of which the first, third and fifth lose half from epoch 5 to 8
    assert kept.tolist() == pytest.approx([1] * 5 + [0.75] * 4 + [1])
    assert scored.tolist() == pytest.approx([0] * 5 + [0.5] * 4 + [0])
    images = [record.metrics["train/images"] for record in records]
    assert images == [60] * 5 + [45] * 4 + [60]
    assert trainer.sampler.book.times_selected.sum() == sum(images)


class Stopped(Callback):
    """Keeps the state in the middle of an epoch, through a file."""

    def __init__(self, folder):
        self.folder = folder

    def on_step_end(self, trainer):
        if trainer.current.epoch == 1 and len(trainer.current.trained) == 2:
            save_state(self.folder, "me", {"trainer": snapshot(trainer)})


def test_a_run_resumes_in_the_middle_of_an_epoch(toy_data, tmp_path):
    trainers = [make_trainer(toy_data, *ARM, *ALL, "budget.compute=2") for _ in range(2)]
    trainers[0].callbacks.append(Stopped(tmp_path))
    whole = list(trainers[0].epochs())
    state = load_state(tmp_path, "me")["trainer"]
    state["callbacks"] = {}
    restore(trainers[1], state)
    resumed = list(trainers[1].epochs())
    for key in ("cost/baseline_epochs", "train/kept_fraction", "cost/scored_fraction"):
        assert [r.metrics[key] for r in resumed] == [r.metrics[key] for r in whole[1:]]
    for key, value in trainers[0].model.state_dict().items():
        assert torch.equal(trainers[1].model.state_dict()[key], value), key
