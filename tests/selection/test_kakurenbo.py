"""KAKURENBO: what it hides, as the published code does on a fixed list of losses, and what it costs a run."""

import math

import numpy as np
import pytest
import torch

from sbp.engine.callbacks import Callback
from sbp.engine.snapshot import restore, snapshot
from sbp.errors import UserError
from sbp.run.state import load_state, save_state
from sbp.selection import Hidden, Kakurenbo, ScoreBook, SelectionContext, SelectiveSampler
from tests.conftest import make_config, make_trainer
from tests.selection.test_policies import rng, select

ARM = ("arm=kakurenbo", "budget.compute=null")
MEAN_LOSS = [0.020, 0.004, 0.310, 0.011, 0.052, 0.007, 0.150, 0.033, 0.002, 0.090, 0.016, 0.470, 0.025, 0.061]
MEAN_LOSS += [0.009]
LOWEST = [0.71, 0.93, 0.08, 0.64, 0.88, 0.30, 0.52, 0.96, 0.701, 0.45, 0.82, 0.03, 0.6999, 0.91, 0.78]
"""Of 15 images, the lowest probability that a pixel's true label has."""
# TruongThaoNguyen/kakurenbo, commit 6cb9f88, pytorch_cifar100_WRN-28-10_hs_lag_v3.1.py: its lines "CUT-OFF",
# for losses MEAN_LOSS, right where LOWEST is above 0.5, and the probability of what is predicted
PUBLISHED = {
    # hide, epoch of 200: images hidden
    (0.3, 10): [1, 8, 14],
    (0.3, 70): [1, 8],
    (0.3, 130): [1, 8],
    (0.3, 170): [8],
    (0.5, 10): [0, 1, 8, 10, 14],
    (0.5, 70): [1, 8, 10, 14],
    (0.5, 130): [1, 8, 14],
    (0.5, 170): [1, 8],
    (0.8, 10): [0, 1, 4, 7, 8, 10, 13, 14],
    (0.8, 70): [0, 1, 7, 8, 10, 14],
    (0.8, 130): [0, 1, 8, 10, 14],
    (0.8, 170): [1, 8, 14],
}
SHARES = {0: 0.3, 59: 0.3, 60: 0.24, 119: 0.24, 120: 0.18, 159: 0.18, 160: 0.12, 199: 0.12}
"""adjust_fraction(epoch, 0.3) there."""


def known(losses, lowest) -> ScoreBook:
    """A book of mean and largest losses."""
    book = ScoreBook(len(losses), 1, ("mean", "max"))
    largest = -np.log(np.array(lowest))
    book.record_scores(np.arange(len(losses)), np.stack([losses, largest])[:, :, None], 0)
    return book


@pytest.mark.parametrize(("hide", "epoch"), PUBLISHED)
def test_images_are_those_that_the_published_code_hides(hide, epoch):
    policy, images = Kakurenbo(hide), np.arange(15)
    book = known(MEAN_LOSS, LOWEST)
    kept = select(policy, images, book, rng(), progress=epoch / 200)
    hidden = np.setdiff1d(images, kept)
    assert hidden.tolist() == PUBLISHED[hide, epoch]
    rate = policy.rate(SelectionContext(images, book), kept)
    assert rate == pytest.approx(1 / (1 - len(hidden) / 15))


@pytest.mark.parametrize("epoch", SHARES)
def test_the_largest_share_falls_as_in_the_published_code(epoch):
    assert Kakurenbo(0.3).largest_share(epoch / 200) == pytest.approx(SHARES[epoch])


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.5])
def test_an_image_with_a_wrong_pixel_is_never_hidden(confidence):
    book = known([0.1, 0.2, 0.3, 0.4], [0.5, 0.49, 0.51, 0.99])
    kept = select(Kakurenbo(0.99, confidence), np.arange(4), book, rng())
    assert kept.tolist() == [0, 1, 3]  # and the highest loss is not among the int(0.99 * 4) lowest


def test_nothing_is_hidden_before_it_is_scored():
    book = ScoreBook(5, 2, ("mean", "max"))
    assert len(select(Kakurenbo(0.8), np.arange(5), book, rng(), focus=(0, 1))) == 5
    with pytest.raises(ValueError, match="this score book has no scores by max, only by mean"):
        select(Kakurenbo(), np.arange(5), ScoreBook(5, 1, ("mean",)), rng())


def test_the_worst_defect_decides_how_sure_an_image_is():
    book = ScoreBook(2, 2, ("mean", "max"))
    largest = [[-math.log(0.9), -math.log(0.6)], [-math.log(0.9), -math.log(0.8)]]
    book.record_scores(np.arange(2), np.array([[[0.1, 0.3], [0.2, 0.4]], largest]), 0)
    both = SelectionContext(np.arange(2), book, focus=(0, 1))
    np.testing.assert_allclose(both.lowest_probabilities(), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(both.image_losses(), [0.2, 0.3], rtol=1e-6)


def test_what_an_epoch_left_out_is_scored_before_the_next():
    sampler = SelectiveSampler(known(MEAN_LOSS, LOWEST), Kakurenbo(0.5), Hidden(), seed=0)
    everything = np.arange(15)
    assert len(sampler.images_to_score(0)) == 0
    sampler.record_training(everything, 0)
    assert len(sampler.images_to_score(1)) == 0
    plan = sampler.plan(1, progress=0.1)
    sampler.record_training(plan.indices, 1)
    assert sampler.images_to_score(2).tolist() == np.setdiff1d(everything, plan.indices).tolist()
    assert sampler.images_to_score(2).tolist() == [0, 1, 8, 10, 14]


# training on the toy images; at confidence 0 a few epochs are enough for something to be hidden
QUICK = ("selection.confidence=0", "selection.hide=0.8", "optimizer=sgd", "scheduler=constant")


def test_an_epoch_costs_what_it_trains_on_and_what_it_hid_before(toy_data):
    trainer = make_trainer(toy_data, *ARM, *QUICK, "budget.epochs=6")
    records = list(trainer.epochs())
    kept = np.array([record.metrics["train/kept_fraction"] for record in records])
    scored = np.array([record.metrics["cost/scored_fraction"] for record in records])
    costs = np.diff([0.0] + [record.metrics["cost/baseline_epochs"] for record in records])
    assert kept[0] == 1
    assert (kept[1:] < 1).any()
    np.testing.assert_allclose(scored, [0, *(1 - kept[:-1])], atol=1e-12)
    np.testing.assert_allclose(costs, kept + scored * trainer.ledger.model_cost.phi)
    rates = np.array([record.metrics["train/lr"] for record in records])
    np.testing.assert_allclose(rates, trainer.peak_rates[0] / kept)


class Stopped(Callback):
    """Keeps the state in the middle of an epoch that hides images, through a file."""

    def __init__(self, folder):
        self.folder, self.rate = folder, 1.0

    def on_step_end(self, trainer):
        if self.rate == 1.0 and len(trainer.current.trained) == 1 and trainer.current.rate > 1:
            self.rate = trainer.current.rate
            save_state(self.folder, "me", {"trainer": snapshot(trainer)})


def test_a_run_resumes_in_the_middle_of_an_epoch(toy_data, tmp_path):
    whole, resumed = (make_trainer(toy_data, *ARM, *QUICK, "budget.epochs=6") for _ in range(2))
    stopped = Stopped(tmp_path)
    whole.callbacks.append(stopped)
    list(whole.epochs())
    assert stopped.rate > 1
    state = load_state(tmp_path, "me")["trainer"]
    restore(resumed, {**state, "callbacks": {}})
    list(resumed.epochs())
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loss=focal",
            "selection=kakurenbo loss=focal: how sure a prediction is follows from",
        ),
        (
            "scoring.parallel=process",
            "staleness=hidden scoring.parallel=process: what is to be",
        ),
        ("selection.hide=1", r"selection\.hide=1\.0: must be at least 0 and below 1"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(override, message):
    with pytest.raises(UserError, match=message):
        make_config("arm=kakurenbo", override)


def test_a_moved_image_has_no_largest_loss():
    with pytest.raises(UserError, match="selection=kakurenbo aggregation=shift: the largest losses"):
        make_config("arm=kakurenbo", "staleness=every_epoch", "aggregation=shift")
