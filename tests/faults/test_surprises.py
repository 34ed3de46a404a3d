"""Dead workers, images that break, losses that explode, clocks that jump."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.faults.harness import (
    SMALL,
    Victim,
    assert_complete,
    assert_same_weights,
    epochs,
    recorded,
    run_folders,
    write_images,
)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


@pytest.mark.faults
def test_a_loader_process_that_is_killed(undisturbed, tmp_path, fault):
    tally = fault("loader process killed")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    victim = Victim.start(tmp_path, "trainer.workers=2")
    victim.wait_for(lambda: len(run_folders(tmp_path)) > 0 and len(children(victim.pid)) > 0)
    os.kill(children(victim.pid)[0], signal.SIGKILL)
    assert victim.wait() == 2
    text = victim.log.read_text()
    assert "a process that loads images is gone" in text
    assert "Traceback" not in text
    (run,) = recorded(tmp_path)
    assert run.status == "FAILED"
    assert Victim.start(tmp_path, "if_exists=resume").wait() == 0
    assert_complete(tmp_path, undisturbed)
    tally.survived()


@pytest.mark.slow
def test_the_number_of_loader_processes_changes_nothing(undisturbed, tmp_path):
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    victim = Victim.start(tmp_path, "trainer.workers=2")
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    assert_complete(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_turns_unreadable_in_the_middle(tmp_path, fault, workers):
    tally = fault("image that turns unreadable in the middle")
    tally.tried()
    root = write_images(tmp_path / "set")
    data = ("data=masks", f"data.root={root}", "data.defects=[scratch]", "data.cache=stream")
    train = (*data, f"trainer.workers={workers}", "budget.compute=20", "selection=none")
    output = tmp_path / "out"
    victim = Victim.start(output, *train)
    victim.wait_for(lambda: len(run_folders(output)) > 0)
    good = {path: path.read_bytes() for path in (root / "images").iterdir()}
    for path in good:
        path.write_bytes(b"")
    assert victim.wait() == 2
    text = victim.log.read_text()
    assert ".png: is empty (0 bytes)" in text
    assert "Traceback" not in text
    (run,) = recorded(output)
    assert run.status == "FAILED"
    assert len(run.values("train/loss")) == len(epochs(run_folders(output)[0])) >= 1
    tally.survived()


def test_a_loss_that_explodes_keeps_the_last_good_state(undisturbed, tmp_path, fault):
    tally = fault("loss that is not finite")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    victim = Victim.start(tmp_path, "optimizer=sgd", "optimizer.lr=1e30", "scheduler.warmup=0.5")
    assert victim.wait() == 3
    text = victim.log.read_text()
    assert "the training loss is not finite in epoch" in text
    assert "images " in text
    assert "Traceback" not in text
    (run,) = recorded(tmp_path)
    assert run.status == "FAILED"
    assert list(tmp_path.glob("runs/*/*/state.pt"))
    tally.survived()


JUMPS = """
import time
real, began = time.time, time.monotonic()
def jumping():
    passed = time.monotonic() - began
    return real() + (86400 if int(passed * 2) % 2 else -86400 * 400)
time.time = jumping
"""


@pytest.mark.faults
def test_a_clock_that_jumps(undisturbed, tmp_path, fault):
    """Back by more than a year and forth by a day, twice a second."""
    tally = fault("clock that jumps back and forth")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    hook = tmp_path / "hook.py"
    hook.write_text(JUMPS)
    victim = Victim.start(tmp_path, FAULT_HOOK=str(hook))
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    assert_complete(tmp_path, undisturbed)
    tally.survived()


@pytest.mark.faults
def test_a_worker_of_a_sweep_that_is_killed(tmp_path, fault):
    """The sweep ends, the same command resumes what is missing, and each run is there once."""
    tally = fault("worker of a parallel sweep killed")
    tally.tried()
    environment = {**os.environ, "SBP_OUTPUT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    sweep = ["-m", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", "seed=0,1", *SMALL]
    command = [sys.executable, "-m", "sbp.train", *sweep]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(3000):
            begun = list(tmp_path.rglob("epochs.jsonl"))
            if len(begun) > 0 or process.poll() is not None:
                break
            subprocess.run(["sleep", "0.05"])
        owner = int((begun[0].parent / ".lock").read_text())
        os.kill(owner, signal.SIGKILL)
        assert process.wait(120) != 0
    finally:
        process.kill()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    runs = recorded(tmp_path)
    assert sorted((run.seed, run.status) for run in runs) == [(0, "FINISHED"), (1, "FINISHED")]
    for run in runs:
        steps = run.series("train/loss")[0].tolist()
        assert steps == list(range(len(epochs(run.folder))))
    tally.survived()


@pytest.mark.faults
def test_a_run_continued_in_a_sweep_equals_one_alone(undisturbed, tmp_path, fault):
    """Killed as a job of a sweep, continued by the same sweep."""
    tally = fault("sweep killed and started again")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    victim = Victim.start(tmp_path, "-m", "seed=0,1")
    victim.wait_for(lambda: any(len(p.read_text().splitlines()) > 3 for p in tmp_path.rglob("epochs.jsonl")))
    victim.kill()
    victim.wait()
    victim = Victim.start(tmp_path, "-m", "seed=0,1")
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    runs = recorded(tmp_path)
    assert sorted((run.seed, run.status) for run in runs) == [(0, "FINISHED"), (1, "FINISHED")]
    same = next(run for run in runs if run.seed == 0)
    assert_same_weights(same.folder, run_folders(undisturbed)[0])
    assert epochs(same.folder) == epochs(run_folders(undisturbed)[0])
    tally.survived()


@pytest.mark.faults
def test_memory_and_open_files_stay_flat_over_200_epochs(tmp_path, fault):
    tally = fault("200 epochs: memory and open files flat")
    tally.tried()
    data = ("data.train_images=16", "data.val_images=8", "data.test_images=8")
    limits = ("budget.compute=null", "budget.epochs=200", "evaluation.every=5", "selection=none")
    victim = Victim.start(tmp_path, *data, *limits, "trainer.save_every_s=300")
    seen: dict[int, tuple[int, int]] = {}

    def watch() -> bool:
        for folder in run_folders(tmp_path):
            count = len((folder / "epochs.jsonl").read_text().splitlines())
            try:
                pages = int(Path(f"/proc/{victim.pid}/statm").read_text().split()[1])
                files = len(os.listdir(f"/proc/{victim.pid}/fd"))
            except OSError:
                return True
            if pages:  # else it has ended
                seen[count] = (pages * 4096, files)
        return False

    victim.wait_for(watch, timeout=300, pause=0.1)
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    early = max(memory for count, (memory, _) in seen.items() if 20 <= count <= 60)
    # after the last epoch come the figures, with libraries of their own
    late = max(memory for count, (memory, _) in seen.items() if 150 <= count < 200)
    assert late - early < 20e6, (early, late)
    files = {count: number for count, (_, number) in seen.items()}
    # some are open for a moment, while something is written: the median is what stays
    early = np.median([number for count, number in files.items() if 20 <= count <= 60])
    late = np.median([number for count, number in files.items() if 150 <= count < 200])
    assert late - early <= 1, files
    tally.survived()


def is_scoring(pid: int) -> bool:
    return b"scoring_process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def scoring_processes(victim: Victim) -> list[int]:
    with contextlib.suppress(OSError):
        return [pid for pid in children(victim.pid) if is_scoring(pid)]
    return []


@pytest.mark.faults
def test_a_scoring_process_that_is_killed(tmp_path, fault):
    """Its pass is done again by a new one: the result has the same bits, and no process is left behind."""
    tally = fault("scoring process killed")
    arguments = ("scoring.parallel=process", "beta=b8", "budget.compute=8")
    reference = Victim.start(tmp_path / "reference", *arguments)
    assert reference.wait() == 0, reference.log.read_text()[-2000:]
    victim = Victim.start(tmp_path / "hurt", *arguments)
    for epoch in (2, 4):
        tally.tried()
        victim.wait_for(
            lambda n=epoch: (
                any(
                    len((f / "epochs.jsonl").read_text().splitlines()) >= n
                    for f in run_folders(tmp_path / "hurt")
                )
                and bool(scoring_processes(victim))
            ),
            timeout=180,
        )
        for pid in scoring_processes(victim):
            os.kill(pid, signal.SIGKILL)
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    assert "a new one does its pass again" in victim.log.read_text()
    assert_complete(tmp_path / "hurt", tmp_path / "reference")
    tally.survived(2)


@pytest.mark.faults
def test_a_run_that_is_killed_takes_its_scoring_process_with_it(tmp_path, fault):
    tally = fault("run killed beside its scoring process")
    tally.tried()
    victim = Victim.start(tmp_path, "scoring.parallel=process", "budget.compute=60")
    victim.wait_for(lambda: bool(scoring_processes(victim)) and bool(run_folders(tmp_path)))
    left = scoring_processes(victim)
    victim.kill()
    victim.wait()
    deadline = time.monotonic() + 120  # it may be importing torch, on cores that others keep busy
    while any(Path(f"/proc/{pid}").exists() and is_scoring(pid) for pid in left):
        assert time.monotonic() < deadline, "the scoring process lives on"
        time.sleep(0.1)
    tally.survived()
