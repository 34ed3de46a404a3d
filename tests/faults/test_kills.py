"""Processes killed at random moments: the next start resumes, and nothing shows."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.harness import Victim, assert_complete, recorded, run_folders, write_images

RUN_S = 4.0
"""About what a run takes after it has begun."""

Moment = Callable[[Path, random.Random], Callable[[], bool]]


def random_moment(output: Path, chance: random.Random) -> Callable[[], bool]:
    """Any time from the start of the process to the end of a run."""
    moment = time.monotonic() + chance.uniform(0.2, RUN_S)
    return lambda: time.monotonic() > moment


def while_there(pattern: str, at_most: int = 6) -> Moment:
    """While a file of that kind exists, the first to the last of so many times that it does."""

    def moment(output: Path, chance: random.Random) -> Callable[[], bool]:
        left, before = chance.randint(1, at_most), False

        def condition() -> bool:
            nonlocal left, before
            now = any(output.glob(pattern))
            left -= now and not before
            before = now
            return now and left <= 0

        return condition

    return moment


def hurt(
    undisturbed,
    output: Path,
    tally,
    moment: Moment,
    kills: int,
    seed: int,
    cache: bool = True,
    arguments: Sequence[str] = (),
):
    """Start the same command again and again, each time killed at such a moment, then let it be.

    arguments: further ones of the command, as the undisturbed run had them. A run that ends before its first
    such moment is followed by another one in a new folder.
    """
    chance, tried = random.Random(seed), 0
    for folder in (output / str(attempt) for attempt in range(5)):
        folder.mkdir()
        if cache:
            shutil.copytree(undisturbed / "cache", folder / "cache")
        while tried < kills:
            victim = Victim.start(folder, *arguments, "if_exists=resume")
            there = victim.wait_for(moment(folder, chance), pause=0.0005)
            victim.kill()
            code = victim.wait()
            if not there or code != -signal.SIGKILL:  # it was faster
                assert code == 0, victim.log.read_text()[-3000:]
                break
            tried += 1
        if tried:
            break
    assert tried, "nothing was hurt"
    tally.tried(tried)
    victim = Victim.start(folder, *arguments, "if_exists=resume")
    assert victim.wait() == 0, victim.log.read_text()[-3000:]
    assert_complete(folder, undisturbed)
    tally.survived(tried)


METHODS = {
    "per_defect": "selection=per_defect staleness=stale_smart upsampling=rare gradients.every=2",
    "balanced": "selection=balanced scoring.monitor_every=2 optimizer=sgd loss=focal evaluation.count=4",
    "random": "selection=random trainer.workers=2 loss=dice_bce augmentation=inspection",
    "reuse": "staleness=reuse aggregation=topk_mean scheduler=linear",
    "shift": "aggregation=shift staleness=stale budget.compute=4",
    "parallel": "scoring.parallel=process staleness=stale staleness.every=2 scoring.max_age=2",
    "guard": "selection=stratified staleness=reuse guard=dynamics guard.min_selected=1",
    "average": "scoring.weights=ema staleness=smart aggregation=softmin",
    "infobatch": "arm=infobatch loss=dice_bce",
    "composer": "arm=composer selection.start=0.2",
    "kakurenbo": "arm=kakurenbo selection.confidence=0 selection.hide=0.8",
    "tiles": "data=masks data.defects=[scratch] data.fit=tile data.image_size=32 data.cache=stream",
    "tiles selected": "data=masks data.defects=[scratch] data.fit=tile data.image_size=32 "
    "selection.unit=tile selection=stratified staleness=reuse",
}


@pytest.mark.faults
@pytest.mark.parametrize("method", METHODS)
def test_every_method_resumes_to_the_same_bits(tmp_path, fault, method):
    """Undisturbed, and killed at random moments: each has state of its own that must come back."""
    arguments = METHODS[method].split()
    if method.startswith("tiles"):
        arguments.append(f"data.root={write_images(tmp_path / 'set')}")
    reference = tmp_path / "reference"
    victim = Victim.start(reference, *arguments)
    assert victim.wait() == 0, victim.log.read_text()[-3000:]
    (tmp_path / "hurt").mkdir()
    tally = fault("SIGKILL at a random moment, other methods")
    hurt(reference, tmp_path / "hurt", tally, random_moment, 3, seed=4, arguments=arguments)


def test_a_run_that_is_killed_resumes_to_the_same_bits(undisturbed, tmp_path, fault):
    hurt(undisturbed, tmp_path, fault("SIGKILL at a random moment"), random_moment, kills=2, seed=0)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(1, 6))
def test_random_moments(undisturbed, tmp_path, fault, seed):
    hurt(undisturbed, tmp_path, fault("SIGKILL at a random moment"), random_moment, kills=5, seed=seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_while_the_state_is_written(undisturbed, tmp_path, fault, seed):
    moment = while_there("runs/*/*/state.pt.new*")
    hurt(undisturbed, tmp_path, fault("SIGKILL while the state is written"), moment, kills=5, seed=seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(4))
def test_while_a_checkpoint_is_written(undisturbed, tmp_path, fault, seed):
    moment = while_there("runs/*/*/*t.pt.tmp", at_most=2)  # best.pt, last.pt
    hurt(
        undisturbed,
        tmp_path,
        fault("SIGKILL while a checkpoint is written"),
        moment,
        kills=4,
        seed=seed,
    )


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_while_the_cache_is_written(undisturbed, tmp_path, fault, seed):
    def moment(output: Path, chance: random.Random) -> Callable[[], bool]:
        begun, wait = while_there("cache/.*.part", at_most=1)(output, chance), chance.uniform(0, 0.4)
        at = 0.0

        def condition() -> bool:
            nonlocal at
            at = at or (time.monotonic() + wait if begun() else 0.0)
            return bool(at) and time.monotonic() > at

        return condition

    tally = fault("SIGKILL while the image cache is written")
    hurt(undisturbed, tmp_path, tally, moment, kills=4, seed=seed, cache=False)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_while_mlflow_is_written_to(undisturbed, tmp_path, fault, seed):
    def moment(output: Path, chance: random.Random) -> Callable[[], bool]:
        left, before = chance.randint(1, 8), b""

        def condition() -> bool:
            """An entry has just arrived, and another one is being sent."""
            nonlocal left, before
            for path in output.glob("runs/*/*/tracking.state.json"):
                now = path.read_bytes()
                waits = json.loads(now)["sent"] < path.with_name("tracking.jsonl").stat().st_size
                left -= waits and now != before
                before = now
                return waits and left <= 0
            return False

        return condition

    tally = fault("SIGKILL while entries are on their way to MLflow")
    hurt(undisturbed, tmp_path, tally, moment, kills=5, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_cleanly_within_an_epoch(undisturbed, tmp_path, fault, number, code):
    tally = fault(f"{number.name}")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    victim = Victim.start(tmp_path)
    victim.wait_for(lambda: len(run_folders(tmp_path)) > 0)
    time.sleep(0.3)
    victim.signal(number)
    assert victim.wait() == code
    (run,) = recorded(tmp_path)
    assert run.status == "KILLED"
    assert (run_folders(tmp_path)[0] / "state.pt").exists()
    assert Victim.start(tmp_path, "if_exists=resume").wait() == 0
    assert_complete(tmp_path, undisturbed)
    tally.survived()


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_signals_at_random_moments(undisturbed, tmp_path, fault, seed):
    """Whatever it is doing: starting, scoring, training, validating, ending."""
    chance = random.Random(seed)
    tally = fault("SIGTERM or SIGINT at a random moment")
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    tried = 0
    for _ in range(5):
        victim = Victim.start(tmp_path, "if_exists=resume")
        victim.wait_for(random_moment(tmp_path, chance))
        number = chance.choice([signal.SIGTERM, signal.SIGINT])
        victim.signal(number)
        code = victim.wait()
        if code == 0:
            break
        # before Python has installed the handlers, the system's own way of ending a process
        assert code in (128 + number, -number), victim.log.read_text()[-3000:]
        tried += 1
    tally.tried(tried)
    assert Victim.start(tmp_path, "if_exists=resume").wait() == 0
    assert_complete(tmp_path, undisturbed)
    tally.survived(tried)
