"""The loop: equal to a plain one without selection, budgets that end, scoring that leaves no trace."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sbp.engine.budget import Budget, Ledger, ModelCost, Schedule
from sbp.errors import TrainingDiverged
from sbp.selection import EpochPlan
from tests.conftest import make_trainer

FIXED = ("scheduler=constant", "optimizer.lr=0.002", "augmentation=none")


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def assert_equal_states(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_without_selection_the_loop_equals_a_plain_pytorch_loop_bit_for_bit(toy_data):
    trainer = make_trainer(toy_data, "selection=none", *FIXED)
    model, split = copy.deepcopy(trainer.model), toy_data.train
    optimizer = torch.optim.AdamW(model.parameters(), 0.002, weight_decay=0.01)
    model.train()
    for epoch in range(2):
        order = trainer.sampler.plan(epoch).indices
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            x = torch.from_numpy(split.images[part]).permute(0, 3, 1, 2).float() / 255.0
            x = (x - torch.tensor(toy_data.mean)) / torch.tensor(toy_data.std)
            y = torch.from_numpy(split.masks[part]).permute(0, 3, 1, 2).float()
            logits = model(x.contiguous(memory_format=torch.channels_last))
            # reduced in two steps, whose gradient is rounded differently from the one-step form's
            loss = F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    epochs = trainer.epochs()
    next(epochs), next(epochs)
    assert_equal_states(state(trainer.model), state(model))


def test_a_scoring_pass_leaves_weights_batchnorm_and_random_state_untouched(toy_data):
    trainer = make_trainer(toy_data, "aggregation=shift")
    trainer.model.train()
    before, random_before = state(trainer.model), torch.get_rng_state()
    modes = [m.training for m in trainer.model.modules()]
    trainer.scorer.score(toy_data.train, np.arange(30), epoch=1)
    assert_equal_states(state(trainer.model), before)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert [m.training for m in trainer.model.modules()] == modes


def test_training_is_the_same_whether_or_not_a_monitoring_pass_looks_on(toy_data):
    plain = make_trainer(toy_data, "selection=none", "budget.epochs=2")
    watched = make_trainer(toy_data, "selection=none", "budget.epochs=2", "scoring.monitor_every=1")
    costs = [[r.metrics["cost/baseline_epochs"] for r in t.epochs()] for t in (plain, watched)]
    assert_equal_states(state(plain.model), state(watched.model))
    assert costs[0] == costs[1] == [1.0, 2.0]


def test_scores_are_those_of_a_forward_pass_in_eval_mode(toy_data):
    trainer = make_trainer(toy_data, "aggregation=mean")
    indices = np.array([3, 5, 40])
    scores = trainer.scorer.score(toy_data.train, indices, epoch=0)
    assert trainer.scorer.schemes == ("mean", "max")
    trainer.model.eval()
    with torch.no_grad():
        images = torch.from_numpy(toy_data.train.images[indices])
        masks = torch.from_numpy(toy_data.train.masks[indices])
        logits = trainer.model(trainer.compute.inputs(images))
        losses = F.binary_cross_entropy_with_logits(
            logits, masks.permute(0, 3, 1, 2).float(), reduction="none"
        )
    np.testing.assert_allclose(scores[0], losses.mean(dim=(2, 3)).numpy(), rtol=1e-5)
    np.testing.assert_allclose(scores[1], losses.amax(dim=(2, 3)).numpy(), rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_scores_of_the_batches_do_not_depend_on_the_batch_size(toy_data, factor):
    small = make_trainer(toy_data, "scoring.batch_size=7", f"scoring.scale_factor={factor}")
    large = make_trainer(toy_data, "scoring.batch_size=60", f"scoring.scale_factor={factor}")
    indices = np.arange(60)
    a, b = (t.scorer.score(toy_data.train, indices, 0) for t in (small, large))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_equal_compute_budget_is_kept_exactly_by_baseline_and_selection(toy_data):
    baseline = make_trainer(toy_data, "selection=none", "budget.compute=2.5")
    epochs = [r.metrics["cost/baseline_epochs"] for r in baseline.epochs()]
    assert epochs[:2] == [1.0, 2.0]
    assert 2.5 <= epochs[2] < 2.5 + 16 / 60  # it ends with the batch that reaches the limit
    focus = make_trainer(toy_data, "beta=b8", "budget.compute=2.5")
    costs = [r.metrics["cost/baseline_epochs"] for r in focus.epochs()]
    assert costs[-1] < 2.5 + 16 / 60
    assert costs[-1] > 2.5 - 1 / 3 - 16 / 60  # no scoring pass that would leave nothing to train
    assert len(costs) > 3


def test_the_cost_of_an_epoch_is_kept_plus_scored_times_phi(toy_data):
    trainer = make_trainer(toy_data, "beta=b8", "staleness=stale", "budget.epochs=6", "budget.compute=null")
    records = list(trainer.epochs())
    phi = trainer.ledger.model_cost.phi
    assert phi == pytest.approx(1 / 3, abs=0.02)
    costs = np.diff([0.0] + [r.metrics["cost/baseline_epochs"] for r in records])
    kept = np.array([r.metrics["train/kept_fraction"] for r in records])
    scored = np.array([r.metrics["cost/scored_fraction"] for r in records])
    np.testing.assert_allclose(costs, kept + scored * phi, rtol=1e-9)
    assert scored.tolist() == [0, 1, 0, 0, 0, 1]


def test_reuse_writes_the_training_losses_back_and_refreshes_the_rest(toy_data):
    trainer = make_trainer(
        toy_data,
        "staleness=reuse",
        "staleness.refresh_fraction=0.1",
        "budget.epochs=3",
        "budget.compute=null",
    )
    epochs = trainer.epochs()
    next(epochs)
    assert not trainer.sampler.book.never_scored.any()  # the warm-up epoch saw every image
    record = next(epochs)
    assert record.metrics["cost/scored_fraction"] == pytest.approx(0.1)
    fresh = trainer.sampler.book.scored_at == 1
    trained = trainer.sampler.book.trained_at == 1
    assert 0 < trained.sum() < 60
    assert fresh[trained].all()
    assert fresh.sum() >= 6


def test_upsampled_repetitions_are_augmented_differently(toy_data):
    trainer = make_trainer(toy_data, "selection=none", "upsampling=rare", "upsampling.factor=3")
    plan = trainer.sampler.plan(0)
    assert len(plan.indices) == 60 + 2 * 3  # three images of 60 hold the rare defect
    batches = list(trainer.loader.epoch(0, np.repeat([3], 6)))
    different = {batch.images[i].numpy().tobytes() for batch in batches for i in range(len(batch.indices))}
    assert len(different) > 1


def test_augmentation_does_not_depend_on_workers_batch_or_order(toy_data):
    alone = make_trainer(toy_data, "augmentation=inspection")
    workers = make_trainer(toy_data, "augmentation=inspection", "trainer.workers=2", "trainer.batch_size=7")
    first = {
        int(i): b.images[n] for b in alone.loader.epoch(3, np.arange(20)) for n, i in enumerate(b.indices)
    }
    second = {
        int(i): b.images[n]
        for b in workers.loader.epoch(3, np.arange(19, -1, -1))
        for n, i in enumerate(b.indices)
    }
    assert all(torch.equal(first[i], second[i]) for i in range(20))
    other_epoch = next(iter(alone.loader.epoch(4, np.arange(16)))).images
    assert any(not torch.equal(first[i], other_epoch[i]) for i in range(16))


def test_a_last_batch_of_one_image_joins_the_one_before(toy_data):
    trainer = make_trainer(toy_data)
    sizes = [len(b.indices) for b in trainer.loader.epoch(0, np.arange(33))]
    assert sizes == [16, 17]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(toy_data):
    runs = [make_trainer(toy_data, f"seed={seed}", "budget.epochs=3") for seed in (0, 0, 1)]
    metrics = [[r.metrics["train/loss"] for r in t.epochs()] for t in runs]
    assert metrics[0] == metrics[1] != metrics[2]
    assert_equal_states(state(runs[0].model), state(runs[1].model))


def test_the_first_losses_are_what_they_were(toy_data):
    """Golden values: a change here changes everybody's results, and must be meant."""
    trainer = make_trainer(toy_data, "beta=b2", "budget.epochs=3", "budget.compute=null")
    records = list(trainer.epochs())
    losses = [r.metrics["train/loss"] for r in records]
    assert losses == pytest.approx([0.03473, 0.04731, 0.0375], rel=0.02)
    assert [r.metrics["train/images"] for r in records] == [60, 21, 20]


def test_a_loss_that_is_not_finite_names_epoch_batch_and_images(toy_data):
    trainer = make_trainer(toy_data, "selection=none", "optimizer=sgd", "optimizer.lr=1e30")
    with pytest.raises(TrainingDiverged, match=r"epoch \d+, batch \d+ \(images train_"):
        list(trainer.epochs())


@pytest.mark.parametrize("loss", ["bce", "focal", "dice_bce", "ohem_bce"])
def test_every_loss_learns_the_toy_defect(toy_data, loss):
    trainer = make_trainer(
        toy_data, f"loss={loss}", "selection=none", "budget.epochs=8", "budget.compute=null"
    )
    records = list(trainer.epochs())
    first, last = records[0].metrics, records[-1].metrics
    assert last["val/loss/scratch"] < first["val/loss/scratch"]
    assert last["val/pixel_ap/scratch"] > 0.2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_train_on_the_cpu(toy_data, precision):
    trainer = make_trainer(toy_data, f"trainer.precision={precision}", "budget.epochs=2")
    assert all(np.isfinite(r.metrics["train/loss"]) for r in trainer.epochs())


def test_budget_ends_at_whichever_limit_comes_first():
    budget = Budget(epochs=10, compute=4.0, time_s=100.0)
    assert budget.progress(epochs=1, compute=1.0, time_s=80.0) == 0.8
    assert budget.progress(epochs=1, compute=3.6, time_s=80.0) == pytest.approx(0.9)
    assert budget.progress(epochs=20, compute=0, time_s=0) == 1.0
    with pytest.raises(ValueError, match=r"one of budget\.epochs, .* must be given"):
        Budget()


def test_ledger_counts_in_baseline_epochs():
    ledger = Ledger(100, ModelCost(forward=1.0, training=3.0, scoring=1.0))
    ledger.trained, ledger.scored = 50, 100
    assert ledger.baseline_epochs == pytest.approx(0.5 + 1 / 3)
    assert ledger.flops == pytest.approx(50 * 3 + 100)


@pytest.mark.parametrize(
    ("name", "progress", "expected"),
    [
        ("constant", 0.7, 1.0),
        ("linear", 0.55, 0.5),
        ("cosine", 0.55, 0.5),
        ("cosine", 1.0, 0.0),
        ("linear", 0.05, 0.5),
        ("cosine", 0.1, 1.0),
    ],
)
def test_learning_rate_follows_the_budget(name, progress, expected):
    assert Schedule(name, warmup=0.1).factor(progress) == pytest.approx(expected, abs=1e-9)


def test_learning_rate_ends_at_its_final_share():
    assert Schedule("linear", final=0.2).factor(0.5) == pytest.approx(0.6)
    assert Schedule("cosine", final=0.2).factor(1.0) == pytest.approx(0.2)
    with pytest.raises(ValueError, match=r"scheduler\.name=step: must be one of constant, linear, cosine"):
        Schedule("step")


def test_the_only_image_of_an_epoch_comes_twice(toy_data):
    """A deep layer shrinks it to one value per channel, of which BatchNorm cannot take the variance."""
    trainer = make_trainer(toy_data, "model.encoder_depth=5", "model.decoder_channels=[16,16,8,8,8]")
    trainer.sampler.plan = lambda epoch, progress: EpochPlan(np.array([7]), 1 / 60)
    record = next(trainer.epochs())
    assert np.isfinite(record.metrics["train/loss"])
    assert record.metrics["train/images"] == trainer.ledger.trained == 2
    (batch,) = trainer.loader.epoch(0, np.array([7]))
    assert batch.indices.tolist() == [7, 7]
