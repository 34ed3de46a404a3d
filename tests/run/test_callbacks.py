"""What a run records: each epoch once, and a state that is never newer than the logs."""

import json
from pathlib import Path

import pytest
import torch

from sbp.engine.callbacks import Callback
from sbp.engine.snapshot import restore
from sbp.engine.trainer import Trainer
from sbp.run.callbacks import run_callbacks
from sbp.run.callbacks.checkpointer import Checkpointer
from sbp.run.callbacks.metric_log import EPOCHS
from sbp.run.state import load_state
from sbp.tracking.tracker import Tracker
from tests.conftest import make_config, make_trainer

OVERRIDES = ("budget.epochs=3", "budget.compute=null", "beta=b2", "tracking=none", "evaluation.test=false")


class CountingTracker(Tracker):
    """Notes what is committed, and whether there is a state by then."""

    last_step = -1

    def __init__(self, folder: Path, last_step: int = -1):
        self.folder, self.last_step = folder, last_step
        self.steps: list[int] = []
        self.states: list[bool] = []

    def log_metrics(self, metrics, step):
        self.steps.append(step)

    def commit(self):
        self.states.append((self.folder / "state.pt").exists())


def recorded(toy_data, folder: Path, tracker=None, resumed: bool = False, *more: str) -> Trainer:
    """A trainer whose run is recorded in `folder`."""
    folder.mkdir(exist_ok=True)
    config = make_config(*OVERRIDES, *more, run_dir=str(folder))
    trainer = make_trainer(toy_data, *OVERRIDES)
    trainer.callbacks += run_callbacks(config, trainer, tracker or Tracker(), "me", resumed)
    return trainer


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / EPOCHS).read_text().splitlines()]


def state(folder: Path) -> dict:
    found = load_state(folder, "me")
    assert found is not None
    return found["trainer"]


def test_a_run_leaves_a_line_per_epoch_and_the_models(toy_data, tmp_path):
    trainer = recorded(toy_data, tmp_path / "run")
    metrics = trainer.fit()
    assert [line["epoch"] for line in lines(tmp_path / "run")] == [0, 1, 2]
    assert lines(tmp_path / "run")[-1]["train/loss"] == metrics["train/loss"]
    assert metrics["best/val/map"] == max(line["val/map"] for line in lines(tmp_path / "run"))
    assert "val/oracle_map" in lines(tmp_path / "run")[0]
    assert "val/oracle_map" not in lines(tmp_path / "run")[1]
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert (saved["epoch"], saved["metrics"]["train/loss"]) == (2, metrics["train/loss"])


def test_the_state_is_there_before_the_run_is_recorded_and_never_newer_than_the_logs(toy_data, tmp_path):
    folder = tmp_path / "run"
    tracker = CountingTracker(folder)
    trainer = recorded(toy_data, folder, tracker, False, "trainer.save_every_s=0", "trainer.save_share=1")
    (checkpointer,) = [c for c in trainer.callbacks if isinstance(c, Checkpointer)]
    save, saved = checkpointer.save, []

    def checked(trainer):
        save(trainer)
        count = len(lines(folder)) if (folder / EPOCHS).exists() else 0
        assert state(folder)["epoch"] == count == len(tracker.steps)
        saved.append(count)

    checkpointer.save = checked
    list_of_epochs = trainer.epochs()
    for callback in trainer.callbacks:
        callback.on_fit_start(trainer)
    assert tracker.states == [True]
    for _ in list_of_epochs:
        pass
    assert set(saved) == {0, 1, 2, 3}
    assert len(saved) > 8  # also between steps
    assert tracker.steps == [0, 1, 2]


def test_epochs_that_are_done_again_are_not_logged_twice_and_half_a_line_goes(toy_data, tmp_path):
    folder = tmp_path / "run"
    trainer = recorded(toy_data, folder)
    for callback in trainer.callbacks:
        callback.on_fit_start(trainer)
    beginning = state(folder)
    epochs = trainer.epochs()
    next(epochs), next(epochs)
    before = (folder / EPOCHS).read_bytes()
    with open(folder / EPOCHS, "ab") as file:
        file.write(b'{"epoch": 2, "train/lo')

    tracker = CountingTracker(folder, last_step=0)
    second = recorded(toy_data, folder, tracker, True)
    restore(second, beginning)
    second.fit()
    assert (folder / EPOCHS).read_bytes().startswith(before)
    assert [line["epoch"] for line in lines(folder)] == [0, 1, 2]
    assert tracker.steps[:2] == [1, 2]


class BrokenOff(Callback):
    """Fails at an epoch's end as a full disk and a signal at once do."""

    def on_epoch_end(self, trainer, record):
        if record.epoch == 1:
            raise SystemExit(143)


@pytest.mark.parametrize("place", [0, -1])
def test_no_state_counts_an_epoch_that_callbacks_have_not_recorded(toy_data, tmp_path, place):
    folder = tmp_path / "run"
    trainer = recorded(toy_data, folder)
    trainer.callbacks.insert(place if place >= 0 else len(trainer.callbacks) - 1, BrokenOff())
    with pytest.raises(SystemExit):
        trainer.fit()
    assert state(folder)["epoch"] <= len(lines(folder))
    assert state(folder)["last"]["epoch"] <= 0


def test_an_interrupt_before_the_first_state_leaves_none(toy_data, tmp_path):
    class Interrupted(Callback):
        def on_fit_start(self, trainer):
            raise KeyboardInterrupt

    trainer = recorded(toy_data, tmp_path / "run")
    trainer.callbacks.insert(0, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert load_state(tmp_path / "run", "me") is None


def test_of_equally_good_models_the_latest_is_the_best_one(tmp_path):
    """val/map reaches its ceiling long before a model is sure of what it finds."""
    import math

    from sbp.run.callbacks.checkpointer import Checkpointer

    saved: list[str] = []
    checkpointer = object.__new__(Checkpointer)
    checkpointer.best, checkpointer.recorded = -math.inf, 0
    checkpointer._save_model = lambda name, trainer: saved.append(f"{name} {trainer.epoch}")
    checkpointer._save_in_time = lambda trainer, wait: None

    class AtEpoch:
        loss = None  # which says no task: segmentation
        epoch = 0

    for AtEpoch.epoch, value in enumerate([0.0, 0.0, 0.5, 1.0, 0.9, 1.0, math.nan]):
        checkpointer.on_epoch_end(AtEpoch, type("Record", (), {"metrics": {"val/map": value}}))
    assert saved == ["best.pt 0", "best.pt 2", "best.pt 3", "best.pt 5"]
