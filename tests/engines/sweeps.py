"""Real sweeps on an engine, one of whose workers is killed, and what must be true after a second start."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from tests.faults.harness import SMALL
from tests.processes import ROOT, surroundings

SEEDS = "seed=0,1,2,3"


class Sweep:
    """`python -m sbp.train -m` of four seeds, a run of some seconds each. log: what it says."""

    def __init__(self, output: Path, *arguments: str, environment: Mapping[str, str] | None = None):
        output.mkdir(parents=True, exist_ok=True)
        self.output = output
        self.log = output / f"sweep-{len(list(output.glob('sweep-*.log')))}.log"
        command = [sys.executable, "-m", "sbp.train", "-m", *SMALL, SEEDS, *arguments]
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**surroundings(output), **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait(self, timeout_s: float = 900) -> int:
        """Its exit code."""
        return self.process.wait(timeout_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 900) -> None:
        """Until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    @property
    def said(self) -> str:
        return self.log.read_text()


@contextlib.contextmanager
def running(sweep: Sweep) -> Iterator[Sweep]:
    """A sweep that ends with the block."""
    try:
        yield sweep
    finally:
        if sweep.process.poll() is None:
            sweep.process.terminate()
            sweep.process.wait(60)


def folders(output: Path) -> list[Path]:
    """Of runs that have done some epochs and can be resumed."""
    begun = [path.parent for path in output.glob("sweeps/*/*/*/epochs.jsonl") if len(_lines(path)) > 2]
    return sorted(folder for folder in begun if (folder / "state.pt").exists())


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def worker(folder: Path) -> int:
    """The process that trains in the folder."""
    return int((folder / ".lock").read_text())


def kill_worker(folder: Path) -> int:
    """SIGKILL the process that trains there; gives its number."""
    number = worker(folder)
    assert number != os.getpid()
    os.kill(number, signal.SIGKILL)
    return number


def recorded(output: Path) -> dict[int, RecordedRun]:
    """What MLflow has, by seed: a run per seed."""
    runs = read_runs(open_store(None, output), "sbp")
    assert len({run.seed for run in runs}) == len(runs), [(run.seed, run.status) for run in runs]
    return {run.seed: run for run in runs}


def parent(output: Path):
    """The sweep's own run, of which there is one."""
    client = open_store(None, output)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(ids, "tags.`sweep.parent` = 'true'")
    return run


def assert_whole(output: Path) -> None:
    """Four finished runs under one finished parent, each epoch logged once, in four folders."""
    runs = recorded(output)
    assert {seed: run.status for seed, run in runs.items()} == dict.fromkeys(range(4), "FINISHED")
    assert parent(output).info.status == "FINISHED"
    for run in runs.values():
        assert run.tags["mlflow.parentRunId"] == parent(output).info.run_id
        steps = run.series("train/loss")[0].tolist()
        assert steps == list(range(len(_lines(run.folder / "epochs.jsonl"))))
    assert len({run.folder for run in runs.values()}) == 4
    assert list((output / "unfinished").iterdir()) == []


def said_by_jobs(output: Path, text: str) -> int:
    """How many logs of jobs hold the text."""
    return sum(text in path.read_text() for path in output.glob("sweeps/*/*/*/train.log"))
