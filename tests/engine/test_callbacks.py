"""Callbacks: when each hook is called, what is passed on, and that training does not feel them."""

import copy
import os
import signal

import numpy as np
import pytest
import torch

from sbp.engine.callbacks import Callback, ScoreMonitor
from sbp.engine.snapshot import restore, snapshot
from sbp.seeding import generator_states, restore_generators
from sbp.utils import signals
from tests.conftest import make_trainer

TWO_EPOCHS = ("budget.epochs=2", "budget.compute=null", "beta=b2")


class Diary(Callback):
    """Notes the hooks as they are called."""

    def __init__(self, name: str, notes: list):
        self.name, self.notes = name, notes

    def on_fit_start(self, trainer):
        self.notes.append((self.name, "start", trainer.epoch))

    def before_training(self, trainer):
        self.notes.append((self.name, "before", trainer.epoch))
        return {f"{self.name}/before": 1.0}

    def on_step_end(self, trainer):
        self.notes.append((self.name, "step", trainer.epoch))

    def on_epoch_end(self, trainer, record):
        assert trainer.current is None
        assert trainer.last is record
        self.notes.append((self.name, "epoch", record.epoch, sorted(k for k in record.metrics if "end" in k)))
        record.metrics[f"{self.name}/end"] = 2.0

    def on_fit_end(self, trainer, record):
        self.notes.append((self.name, "end", record.epoch, dict(record.metrics)))
        record.metrics[f"{self.name}/final"] = 3.0

    def on_interrupt(self, trainer):
        self.notes.append((self.name, "interrupt", trainer.epoch))


@pytest.fixture
def handlers():
    """Our signal handlers, for a test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signals.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_hooks_are_called_in_order_and_pass_metrics_on(toy_data):
    trainer, notes = make_trainer(toy_data, *TWO_EPOCHS), []
    trainer.callbacks = [Diary("a", notes), Diary("b", notes)]
    metrics = trainer.fit()
    steps = [note for note in notes if note[1] == "step"]
    images = [60, int(metrics["train/images"])]
    assert len(steps) == 2 * sum(-(-count // 16) for count in images)
    assert [note for note in notes if note[1] != "step"] == [
        ("a", "start", 0),
        ("b", "start", 0),
        ("a", "before", 0),
        ("b", "before", 0),
        ("a", "epoch", 0, []),
        ("b", "epoch", 0, ["a/end"]),
        ("a", "before", 1),
        ("b", "before", 1),
        ("a", "epoch", 1, []),
        ("b", "epoch", 1, ["a/end"]),
        ("a", "end", 1, {}),
        ("b", "end", 1, {"a/final": 3.0}),
    ]
    for name in "ab":
        assert [metrics[f"{name}/{key}"] for key in ("before", "end", "final")] == [1.0, 2.0, 3.0]


def test_training_does_not_feel_them(toy_data):
    alone, followed = (make_trainer(toy_data, *TWO_EPOCHS) for _ in range(2))
    followed.callbacks = [Diary("a", [])]
    alone.fit()
    followed.fit()
    for key, value in alone.model.state_dict().items():
        assert torch.equal(value, followed.model.state_dict()[key]), key


class StopAt(Callback):
    """Takes a snapshot at the n-th step, and stops."""

    def __init__(self, steps: int):
        self.left, self.state = steps, None

    def on_step_end(self, trainer):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def on_interrupt(self, trainer):
        self.state = copy.deepcopy({"trainer": snapshot(trainer), "random": generator_states()})


@pytest.mark.parametrize("steps", [1, 3, 4, 5])
def test_a_trainer_resumes_between_any_two_steps_and_measures_nothing_twice(toy_data, steps):
    overrides = (*TWO_EPOCHS, "selection=none", "scoring.monitor_every=1", "augmentation=flips")
    whole = make_trainer(toy_data, *overrides)
    expected = whole.fit()

    first = make_trainer(toy_data, *overrides)
    stop = StopAt(steps)
    first.callbacks.append(stop)
    with pytest.raises(KeyboardInterrupt):
        first.fit()

    second, notes = make_trainer(toy_data, *overrides, "seed=0"), []
    torch.rand(7)  # somebody draws in between
    second.callbacks += [StopAt(0), Diary("a", notes)]
    stop.state["trainer"]["callbacks"]["Diary"] = {}
    restore(second, stop.state["trainer"])
    restore_generators(stop.state["random"])
    metrics = second.fit()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    same = [key for key in expected if not key.startswith("time/")]
    assert [metrics[key] for key in same] == pytest.approx([expected[key] for key in same], nan_ok=True)
    assert [note[2] for note in notes if note[1] == "before"] == ([1] if steps <= 4 else [])
    assert sum(note[1] == "step" for note in notes) == 8 - steps


@pytest.mark.parametrize(
    "method",
    [
        ("selection=stratified", "staleness=reuse", "guard=dynamics", "guard.min_selected=1"),
        ("selection=selective", "staleness=smart", "scoring.weights=ema", "selection.warmup_epochs=0"),
    ],
    ids=lambda method: method[-2],
)
def test_what_a_method_remembers_is_resumed_as_well(toy_data, method):
    overrides = ("budget.compute=null", "budget.epochs=5", "trainer.batch_size=8", "beta=b1", *method)
    whole = make_trainer(toy_data, *overrides)
    whole.fit()
    first = make_trainer(toy_data, *overrides)
    stop = StopAt(9)
    first.callbacks.append(stop)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = make_trainer(toy_data, *overrides)
    restore(second, stop.state["trainer"])
    restore_generators(stop.state["random"])
    second.fit()
    expected, found = snapshot(whole), snapshot(second)
    for part in ("model", "guard", "average"):
        for key, value in (expected[part] or {}).items():
            assert torch.equal(value.nan_to_num(-1), found[part][key].nan_to_num(-1)), key
    assert any(expected[part] for part in ("guard", "average"))


def test_a_moving_average_scores_and_does_not_train(toy_data):
    plain, averaged = (
        make_trainer(toy_data, "budget.compute=2", "selection=none", "scoring.monitor_every=1", *more)
        for more in ((), ("scoring.weights=ema", "scoring.ema_decay=0.9"))
    )
    plain.fit()
    averaged.fit()
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, averaged.model.state_dict()[key]), key
    scores = [trainer.sampler.book.scores for trainer in (plain, averaged)]
    assert not np.allclose(*scores)
    assert np.corrcoef(*(s[0].ravel() for s in scores))[0, 1] > 0.5


def test_a_signal_at_an_epochs_end_waits_for_all_callbacks(toy_data, handlers):
    class Terminated(Callback):
        def on_epoch_end(self, trainer, record):
            os.kill(os.getpid(), signal.SIGTERM)

    trainer, notes = make_trainer(toy_data, *TWO_EPOCHS), []
    trainer.callbacks = [Terminated(), Diary("a", notes)]
    with pytest.raises(SystemExit) as stopped:
        trainer.fit()
    assert stopped.value.code == 143
    assert [note[:3] for note in notes[-2:]] == [("a", "epoch", 0), ("a", "interrupt", 1)]


class Interrupted(Callback):
    def before_training(self, trainer):
        raise KeyboardInterrupt


def test_scores_for_the_record_are_taken_once_though_a_later_callback_was_cut_off(toy_data):
    overrides = (*TWO_EPOCHS, "selection=none", "scoring.monitor_every=2")
    trainer = make_trainer(toy_data, *overrides)
    assert isinstance(trainer.callbacks[0], ScoreMonitor)
    passes = []
    score = trainer.scorer.score
    trainer.scorer.score = lambda *arguments: passes.append(arguments[2]) or score(*arguments)
    interrupted = Interrupted()
    trainer.callbacks.append(interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    trainer.callbacks.remove(interrupted)
    records = list(trainer.epochs())
    assert passes == [0]
    assert [record.scores is not None for record in records] == [True, False]
