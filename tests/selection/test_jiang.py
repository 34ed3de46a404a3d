"""Jiang et al.'s selector: its history and chances as they are published, and a restart that forgets none."""

import numpy as np
import pytest
import torch

from sbp.engine.snapshot import restore, snapshot
from sbp.run.state import load_state, save_state
from sbp.selection.jiang import Jiang
from tests.conftest import make_trainer
from tests.selection.test_in_batch import Stopped
from tests.selection.test_policies import rng


def reference(stream: list[np.ndarray], beta: float, length: int) -> list[list[float]]:
    """Chances of every image, written out: a list, its last entries, and a count of those below."""
    history: list[float] = []
    chances = []
    for batch in stream:
        for loss in batch:
            history.append(float(loss))
            history = history[-length:]
        chances.append([(sum(old < loss for old in history) / len(history)) ** beta for loss in batch])
    return chances


@pytest.mark.parametrize(("beta", "length"), [(3.0, 20), (1.0, 7), (3.0, 1024)])
def test_chances_on_a_stream_are_those_written_out(beta, length):
    stream = [rng(k).exponential(size=8).round(1).astype(np.float32) for k in range(12)]
    policy = Jiang(beta, length)
    for batch, expected in zip(stream, reference(stream, beta, length), strict=True):
        np.testing.assert_allclose(policy.enter(batch) ** beta, expected, rtol=1e-5)


def test_images_are_kept_as_often_as_that():
    losses, trials = rng(0).exponential(size=256).astype(np.float32), 400
    policy, counts, generator = Jiang(3.0, 1024), np.zeros(256), rng(1)
    for _ in range(trials):
        chosen = policy.choose(losses, generator)
        assert len(set(chosen.tolist())) == len(chosen)
        counts[chosen] += 1
    share = np.argsort(np.argsort(losses)) / 256
    assert np.abs(counts / trials - share**3).max() < 0.1
    assert counts.mean() / trials == pytest.approx(0.25, abs=0.01)


def test_two_images_at_least_are_kept_the_highest():
    equal = Jiang().choose(np.ones(5, np.float32), rng(0))  # nothing lies below anything
    assert len(equal) == 2
    assert Jiang().choose(np.ones(1, np.float32), rng(0)).tolist() == [0]
    chosen = Jiang(beta=1e6).choose(np.array([1, 5, 2, 9], np.float32), rng(0))
    assert sorted(chosen.tolist()) == [1, 3]
    assert not Jiang(beta=0).chooses(0, 0.0)


def test_the_first_epoch_is_whole_and_enters_nothing(toy_data):
    trainer = make_trainer(toy_data, "selection=jiang", "budget.epochs=3", "budget.compute=null")
    kept, scored = [], []
    for record in trainer.epochs():
        if record.epoch == 0:
            assert len(trainer.in_batch.policy.losses) == 0
        kept.append(record.metrics["train/kept_fraction"])
        scored.append(record.metrics["cost/scored_fraction"])
    assert (kept[0], scored) == (1, [0, 1, 1])
    assert max(kept[1:]) < 0.6
    assert len(trainer.in_batch.policy.losses) == 2 * len(toy_data.train)


def test_a_run_resumes_in_the_middle_of_an_epoch_with_its_history(toy_data, tmp_path):
    trainers = [make_trainer(toy_data, "selection=jiang", "budget.compute=2") for _ in range(2)]
    trainers[0].callbacks.append(Stopped(tmp_path))
    whole = list(trainers[0].epochs())
    state = load_state(tmp_path, "me")["trainer"]
    assert len(state["in_batch"]["losses"]) > 0
    state["callbacks"] = {}
    restore(trainers[1], state)
    resumed = list(trainers[1].epochs())
    assert [r.metrics["train/kept_fraction"] for r in resumed] == [
        r.metrics["train/kept_fraction"] for r in whole[1:]
    ]
    for key, value in trainers[0].model.state_dict().items():
        assert torch.equal(trainers[1].model.state_dict()[key], value), key
    save_state(tmp_path, "me", {"trainer": snapshot(trainers[1])})
    np.testing.assert_array_equal(
        load_state(tmp_path, "me")["trainer"]["in_batch"]["losses"], list(trainers[0].in_batch.policy.losses)
    )
