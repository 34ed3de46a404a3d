"""Scoring beside training: whose weights a score is of, when it is used, and what a death changes."""

import copy
import os
import pickle
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from sbp.engine.callbacks import Callback
from sbp.engine.parallel_scoring import ParallelScoring, ScoringJob
from sbp.engine.snapshot import restore, snapshot
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.selection import ScoreBook
from tests.conftest import make_config, make_trainer
from tests.engine.test_trainer import assert_equal_states

BESIDE = (
    "scoring.parallel=device",
    "scoring.device=cpu",
    "budget.compute=null",
    "budget.epochs=4",
    "beta=b2",
)


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads in training as in the scoring process: their sums are rounded alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Watch(Callback):
    """Notes the weights at the start of each epoch, and the score book right before each draw."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.scores: list[np.ndarray] = []
        self.dates: list[np.ndarray] = []

    def before_training(self, trainer: Trainer) -> dict[str, float]:
        self.weights.append(copy.deepcopy(trainer.model.state_dict()))
        self.scores.append(trainer.sampler.book.scores.copy())
        self.dates.append(trainer.sampler.book.scored_at.copy())
        return {}


def watched(data, *overrides: str) -> tuple[Trainer, Watch]:
    trainer, watch = make_trainer(data, *overrides), Watch()
    trainer.callbacks.append(watch)
    trainer.fit()
    return trainer, watch


@pytest.mark.parametrize("age", [1, 2])
def test_a_draw_sees_the_scores_of_the_weights_of_max_age_epochs_before(toy_data, age):
    overrides = (
        *BESIDE,
        f"scoring.max_age={age}",
        "budget.epochs=5",
        f"staleness={'stale' if age > 1 else 'every_epoch'}",
    )
    more = ("staleness.every=2",) if age > 1 else ()
    _, watch = watched(toy_data, *overrides, *more)
    reference = make_trainer(toy_data, "beta=b2")
    draws = [3] if age > 1 else [1, 2, 3, 4]  # those that take over a pass; the first has warm-up before it
    for epoch in draws:
        assert set(watch.dates[epoch]) == {epoch - age}
        reference.model.load_state_dict(watch.weights[epoch - age])
        expected = reference.scorer.score(toy_data.train, np.arange(len(toy_data.train)), epoch - age)
        np.testing.assert_array_equal(watch.scores[epoch], expected)


def test_without_warm_up_the_first_pass_is_before_the_draw(toy_data):
    _, watch = watched(toy_data, *BESIDE, "selection.warmup_epochs=0", "budget.epochs=3")
    assert [set(dates) for dates in watch.dates] == [{0}, {0}, {1}]


@pytest.mark.slow  # starting processes takes seconds each
def test_a_process_trains_the_same_as_a_thread_bit_for_bit(toy_data):
    thread, _ = watched(toy_data, *BESIDE)
    process, _ = watched(toy_data, *BESIDE, "scoring.parallel=process")
    assert_equal_states(thread.model.state_dict(), process.model.state_dict())
    np.testing.assert_array_equal(thread.sampler.book.scores, process.sampler.book.scores)


@pytest.mark.slow
def test_a_scoring_process_that_is_killed_is_replaced_and_changes_nothing(toy_data, caplog):
    undisturbed, _ = watched(toy_data, *BESIDE)
    trainer = make_trainer(toy_data, *BESIDE, "scoring.parallel=process")
    kills = []

    class Killer(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            if trainer.epoch == 1 and not kills:
                kills.append(trainer.parallel.backend.process.pid)
                os.kill(kills[-1], signal.SIGKILL)

    trainer.callbacks.append(Killer())
    trainer.fit()
    assert len(kills) == caplog.text.count("a new one does its pass again") == 1
    assert_equal_states(undisturbed.model.state_dict(), trainer.model.state_dict())


@pytest.mark.slow
def test_one_that_dies_again_and_again_ends_the_run_in_one_line(toy_data, monkeypatch):
    trainer = make_trainer(toy_data, *BESIDE, "scoring.parallel=process")
    backend = trainer.parallel.backend
    real = backend._send

    def deadly(what):
        real(what)
        backend.process.kill()

    monkeypatch.setattr(backend, "_send", deadly)
    with pytest.raises(
        UserError, match=r"ended 3 times over one pass, last with exit code -9.*parallel=none"
    ):
        trainer.fit()


@pytest.mark.parametrize("parallel", ["device", pytest.param("process", marks=pytest.mark.slow)])
def test_what_goes_wrong_in_the_pass_is_raised_in_training(toy_data, parallel):
    trainer = make_trainer(toy_data, *BESIDE, f"scoring.parallel={parallel}")
    trainer.parallel.start(trainer.scorer, np.array([10**6]), 0)
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        trainer.parallel.take(1)
    trainer.parallel.close()


@pytest.mark.parametrize("staleness", ["every_epoch", "stale_smart", "reuse"])
def test_a_run_that_was_cut_off_while_a_pass_is_under_way_resumes_to_the_same(toy_data, staleness):
    overrides = (*BESIDE, f"staleness={staleness}")
    straight, _ = watched(toy_data, *overrides)
    states = []

    class Saver(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            if trainer.epoch == 2 and len(trainer.current.trained) == 1:
                states.append(copy.deepcopy(snapshot(trainer)))

    first = make_trainer(toy_data, *overrides)
    first.callbacks.append(Saver())
    first.fit()
    (state,) = states
    assert (state["parallel"] is None) == (staleness == "stale_smart")  # its passes: beside epochs 0 and 4
    state["callbacks"] = {}
    second = make_trainer(toy_data, *overrides)
    restore(second, state)
    second.fit()
    assert_equal_states(straight.model.state_dict(), second.model.state_dict())
    assert second.ledger.scored == straight.ledger.scored


def test_images_scored_beside_cost_what_they_cost_before_the_draw(toy_data):
    n = len(toy_data.train)
    beside, _ = watched(toy_data, *BESIDE)
    before, _ = watched(toy_data, "budget.compute=null", "budget.epochs=4", "beta=b2")
    assert (
        beside.ledger.scored == before.ledger.scored == 3 * n
    )  # epochs 1 to 3; none for a draw that never comes


def test_no_pass_is_begun_that_no_draw_will_see(toy_data):
    trainer, _ = watched(toy_data, *BESIDE, "budget.epochs=1")
    assert trainer.ledger.scored == 0
    trainer, watch = watched(toy_data, *BESIDE, "budget.epochs=null", "budget.compute=1.9")
    phi = trainer.ledger.model_cost.phi
    assert trainer.ledger.baseline_epochs == pytest.approx(1.9, abs=0.3)
    assert len(watch.dates) > 1
    assert trainer.ledger.scored * phi < 0.9 * len(toy_data.train)


@dataclass
class Slow:
    """A backend whose pass is done when `done` says so."""

    done: bool = False
    started: list[int] = field(default_factory=list)

    def start(self, job: ScoringJob) -> None:
        self.started.append(job.epoch)

    def ready(self) -> bool:
        return self.done

    def result(self) -> np.ndarray:
        return np.zeros((1, 2, 1), dtype=np.float32)

    def close(self) -> None: ...


def begun(hand_over: str, max_age: int, done: bool) -> ParallelScoring:
    passes = ParallelScoring(Slow(done), hand_over, max_age)
    passes.job = ScoringJob(4, np.arange(2), {})
    return passes


def taken_at(passes: ParallelScoring) -> int:
    """The epoch whose draw takes the scores of a pass with the weights of epoch 4."""
    return next(epoch for epoch in range(5, 20) if passes.take(epoch) is not None)


def test_fixed_scores_come_when_they_must_and_arriving_ones_when_they_are_there():
    assert taken_at(begun("fixed", 3, done=True)) == taken_at(begun("fixed", 3, done=False)) == 7
    assert taken_at(begun("arrival", 3, done=True)) == 5
    assert taken_at(begun("arrival", 3, done=False)) == 7
    assert begun("fixed", 3, done=False).take(5, needed=True).epoch == 4


def test_late_scores_leave_newer_ones_alone():
    book = ScoreBook(4, 1)
    book.record_scores(np.arange(4), np.full((1, 4, 1), 1.0), epoch=0)
    book.record_scores(np.array([0]), np.full((1, 1, 1), 7.0), epoch=2)  # written back by a training step
    book.record_scores(np.array([1]), np.full((1, 1, 1), 8.0), epoch=3)
    book.record_scores(np.arange(4), np.full((1, 4, 1), 5.0), epoch=2, late=True)
    np.testing.assert_array_equal(book.scores[0, :, 0], [7.0, 8.0, 5.0, 5.0])
    np.testing.assert_array_equal(book.scored_at, [2, 3, 2, 2])


def test_images_on_disk_travel_by_their_path(toy_data):
    sent = pickle.dumps(toy_data.train)
    assert len(sent) < toy_data.train.images.nbytes / 10
    arrived = pickle.loads(sent)
    np.testing.assert_array_equal(arrived.images[3], toy_data.train.images[3])
    assert len(arrived) == len(toy_data.train)
    assert not arrived.images.flags.writeable


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scoring.parallel=two", r"scoring.parallel=two: must be one of none, device, process"),
        ("scoring.parallel=device", r"scoring.device=null"),
        ("scoring.max_age=0", r"scoring.max_age=0: must be at least 1"),
        ("scoring.hand_over=soon", r"scoring.hand_over=soon: must be one of fixed, arrival"),
        ("scoring.threads=0", r"scoring.threads=0"),
        ("scoring.device=tpu", r"scoring.device=tpu"),
    ],
)
def test_bad_values_name_their_key(override, message):
    with pytest.raises(UserError, match=message):
        make_config(override)


def test_keys_of_parallel_scoring_make_another_run_only_where_it_is_used():
    from sbp.run.fingerprint import fingerprint

    plain = fingerprint(make_config())
    assert fingerprint(make_config("scoring.max_age=2", "scoring.threads=2")) == plain
    assert fingerprint(make_config("scoring.parallel=process")) != plain
    one, two = (fingerprint(make_config("scoring.parallel=process", f"scoring.max_age={a}")) for a in (1, 2))
    assert one != two
