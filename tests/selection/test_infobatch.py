"""InfoBatch: what it leaves out and how the rest counts, as in the published code on fixed losses."""

import numpy as np
import pytest
import torch

from sbp.engine.callbacks import Callback
from sbp.engine.losses import LOSSES, Bce, DiceBce
from sbp.engine.snapshot import restore, snapshot
from sbp.errors import UserError
from sbp.run.state import load_state, save_state
from sbp.selection import InfoBatch, Periodic, ScoreBook, SelectionContext, SelectiveSampler
from tests.conftest import make_config, make_trainer
from tests.selection.test_policies import book_of, near, rng, select

ARM = ("arm=infobatch", "budget.compute=null")
LOSSES_OF_IMAGES = [0.91, 0.12, 0.33, 0.05, 1.74, 0.28, 0.47, 0.09, 0.62, 0.31, 0.02, 0.55]
# NUS-HPC-AI-Lab/InfoBatch, commit 8bbb012: InfoBatch.prune with these losses as its scores
ALWAYS_KEPT = [0, 4, 6, 8, 11]
PUBLISHED = {
    # drop: images kept, weight of those below the mean, how often each of those is kept in 20,000 draws
    0.5: (8, 2.0, [8656, 8564, 8653, 8533, 8538, 8501, 8555]),
    0.3: (9, 1.4285714626312256, [11538, 11362, 11519, 11424, 11413, 11391, 11353]),
    0.75: (6, 4.0, [2933, 2831, 2891, 2901, 2873, 2782, 2789]),
}


@pytest.mark.parametrize("drop", PUBLISHED)
def test_images_and_weights_are_those_of_the_published_code(drop):
    size, weight, published = PUBLISHED[drop]
    low = np.setdiff1d(np.arange(12), ALWAYS_KEPT)
    policy, book, counts = InfoBatch(drop), book_of(LOSSES_OF_IMAGES), np.zeros(12, dtype=int)
    generator, trials = rng(1), 4000
    for _ in range(trials):
        kept = select(policy, np.arange(12), book, generator)
        assert len(set(kept.tolist())) == len(kept) == size
        counts[kept] += 1
    assert (counts[ALWAYS_KEPT] == trials).all()
    for found, expected in zip(counts[low], published, strict=True):
        assert near(found, trials, (size - 5) / 7)
        assert near(expected, 20_000, (size - 5) / 7)
    weights = policy.weights(SelectionContext(np.arange(12), book))
    assert (weights[ALWAYS_KEPT] == 1).all()
    assert (weights[low] == np.float32(weight)).all()


def test_the_loss_of_a_batch_is_that_of_the_published_code():
    """InfoBatch.update for the images 0, 2, 3, 4, 6 at drop 0.5."""
    images = [0, 2, 3, 4, 6]
    policy, book = InfoBatch(), book_of(LOSSES_OF_IMAGES)
    weights = torch.from_numpy(policy.weights(SelectionContext(np.arange(12), book))[images])
    loss_map = torch.tensor(LOSSES_OF_IMAGES)[images].view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    value = Bce().reduce_weighted(weights.view(-1, 1, 1, 1), loss_map, loss_map, loss_map)
    assert value.item() == pytest.approx(0.7759999632835388, rel=1e-6)


def test_epochs_are_whole_when_the_published_ones_are():
    """Of 16 epochs with IBSampler: the first, before which nothing is known, and the last 12.5 %."""
    sampler = SelectiveSampler(ScoreBook(12, 1), InfoBatch(), Periodic(), seed=0)
    sizes = []
    for epoch in range(16):
        plan = sampler.plan(epoch, progress=epoch / 16)
        sizes.append(len(plan.indices))
        assert (plan.weights is None) == (len(plan.indices) == 12)
        sampler.record_scores(np.arange(12), np.array(LOSSES_OF_IMAGES)[None, :, None], epoch)
    assert sizes == [12] + [8] * 13 + [12, 12]


def test_weights_make_up_for_what_is_left_out():
    """The expected sum of weighted losses is the sum of all losses, but for rounding of the number kept."""
    losses = rng().gamma(1.0, size=4001)
    book, policy = book_of(losses), InfoBatch()
    weights = policy.weights(SelectionContext(np.arange(4001), book))
    sums = [
        (weights * losses)[select(policy, np.arange(4001), book, rng(seed))].sum() / losses.sum()
        for seed in range(50)
    ]
    assert np.mean(sums) == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("known", [0, 3])
def test_what_was_never_scored_is_trained_on_and_weighs_one(known):
    book = ScoreBook(8, 1)
    book.scores[0, :known, 0] = 0.2
    policy = InfoBatch()
    assert sorted(select(policy, np.arange(8), book, rng())) == list(range(8))  # equal losses: none is low
    assert (policy.weights(SelectionContext(np.arange(8), book)) == 1).all()


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_that_weighs_two_counts_as_two(name):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 2, 6, 6, generator=generator)
    target = (torch.rand(2, 2, 6, 6, generator=generator) < 0.3).float()
    loss = DiceBce(dice_weight=1.0) if name == "dice_bce" else LOSSES[name]()
    twice = [part[[0, 0, 1]] for part in (logits, target)]
    ones, two = torch.ones(2, 1, 1, 1), torch.tensor([2.0, 1.0]).view(2, 1, 1, 1)

    def value(weights, logits, target):
        loss_map = loss.loss_map(logits, target)
        return loss.reduce_weighted(weights, loss_map, logits, target).item()

    plain = loss.reduce(loss.loss_map(logits, target), logits, target).item()
    assert value(ones, logits, target) == plain
    # a mean is divided by the images that there are, a Dice is a ratio
    images = (1, 1) if name == "dice_bce" else (2, 3)
    if name == "ohem_bce":
        loss.threshold = 1.0  # all pixels: images would not have as many hard ones
    expected = value(torch.ones(3, 1, 1, 1), *twice) * images[1]
    assert value(two, logits, target) * images[0] == pytest.approx(expected, rel=1e-5)


def test_an_epoch_costs_what_it_trains_on_and_nothing_is_scored(toy_data):
    trainer = make_trainer(toy_data, *ARM, "budget.epochs=8")
    records = list(trainer.epochs())
    images = [record.metrics["train/images"] for record in records]
    assert all(record.metrics["cost/scored_fraction"] == 0 for record in records)
    assert records[-1].metrics["cost/baseline_epochs"] == pytest.approx(sum(images) / 60)
    assert images[0] == images[7] == 60
    assert all(30 <= count < 60 for count in images[1:7])
    assert not trainer.sampler.book.never_scored.any()


class Stopped(Callback):
    """Keeps the state in the middle of an epoch that is weighted, through a file."""

    def __init__(self, folder):
        self.folder = folder

    def on_step_end(self, trainer):
        now = trainer.current
        if now.epoch == 3 and len(now.trained) == 1:
            assert now.weights is not None
            save_state(self.folder, "me", {"trainer": snapshot(trainer)})


def test_weights_come_back_in_the_middle_of_an_epoch(toy_data, tmp_path):
    whole = make_trainer(toy_data, *ARM, "budget.epochs=6")
    whole.callbacks.append(Stopped(tmp_path))
    list(whole.epochs())
    resumed = make_trainer(toy_data, *ARM, "budget.epochs=6", "seed=5")
    resumed.sampler.seed = resumed.loader.loader.dataset.augmentation.seed = 0
    state = load_state(tmp_path, "me")["trainer"]
    state["callbacks"] = {}
    restore(resumed, state)
    list(resumed.epochs())
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


class Sum(Bce):
    """A loss that says nothing about weights."""

    def reduce(self, loss_map, logits, target, valid=None):
        return loss_map.sum()


def test_what_does_not_go_with_it_is_one_line(monkeypatch):
    assert make_config("arm=infobatch", "loss=dice_bce").loss.name == "dice_bce"
    monkeypatch.setattr(LOSSES["focal"], "reduce", Sum.reduce)
    with pytest.raises(UserError, match=r"selection=infobatch loss=focal: some images count more"):
        make_config("arm=infobatch", "loss=focal", "seed=77")
    with pytest.raises(UserError, match=r"aggregation=shift staleness=reuse: shift scores a moved image"):
        make_config("arm=infobatch", "aggregation=shift")
    with pytest.raises(UserError, match=r"selection\.drop=1\.0: must be at least 0 and below 1"):
        make_config("arm=infobatch", "selection.drop=1")
