"""Real training processes to be hurt, and what must be true of them afterwards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT

SMALL = (
    "scale=smoke",
    "budget.compute=6",
    "model.encoder_depth=3",
    "model.decoder_channels=[16,8,8]",
    "trainer.threads=1",
    "trainer.save_every_s=0.2",
    "trainer.save_share=1",
)
"""A run of a few seconds with a dozen epochs."""


class ForkServer:
    """A process that has imported everything and forks training processes; see tests.faults.forkserver."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"

    def ask(self, command: dict):
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Victim:
    """A training process."""

    server: ForkServer
    pid: int
    log: Path

    @classmethod
    def start(cls, server: ForkServer, output: Path, *arguments: str, **environment: str) -> "Victim":
        output.mkdir(parents=True, exist_ok=True)
        log = output / "log.txt"
        variables = {"SBP_OUTPUT": str(output), **environment}
        # -m, if it is there, comes first; of a key given twice, the last counts
        flags = [a for a in arguments if a == "-m"]
        given = [*flags, *SMALL, *(a for a in arguments if a != "-m")]
        start = {"arguments": given, "environment": variables, "log": str(log)}
        return cls(server, server.ask({"start": start}), log)

    def poll(self) -> int | None:
        return self.server.ask({"poll": self.pid})

    def wait(self, timeout: float = 120) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(self.log.read_text()[-3000:])
            time.sleep(0.02)
        return code

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60, pause: float = 0.002) -> bool:
        """Until the condition holds; False if the process ended before."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.poll() is not None:
                return condition()
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(pause)
        return True


def run_folders(output: Path) -> list[Path]:
    """Folders of runs that have begun, by name."""
    return sorted(path.parent for path in output.glob("runs/*/*/epochs.jsonl"))


def recorded(output: Path) -> list[RecordedRun]:
    """What MLflow has."""
    return read_runs(open_store(None, output), "sbp")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt", weights_only=True)["weights"]


def assert_same_weights(a: Path, b: Path) -> None:
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def logged(run: RecordedRun) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values of every metric that is not a time."""
    return {key: run.series(key) for key in run.metrics if not key.startswith("time/")}


def assert_same_record(run: RecordedRun, reference: RecordedRun) -> None:
    """The same metrics, and the same pictures and files."""
    assert_same_metrics(run, reference)
    assert files(run) == files(reference)


def assert_same_metrics(run: RecordedRun, reference: RecordedRun) -> None:
    """The same metrics at the same steps with the same bits, each once."""
    ours, theirs = logged(run), logged(reference)
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert np.array_equal(ours[key][0], theirs[key][0]), key
        assert np.array_equal(ours[key][1], theirs[key][1], equal_nan=True), key
    for key in run.metrics:
        steps = run.series(key)[0]
        assert len(steps) == len(set(steps.tolist())), f"{key} has doubled steps"


def files(run: RecordedRun) -> list[str]:
    """The run's artifacts, pictures by key and step."""
    found, folders = [], [""]
    while folders:
        for entry in run.client.list_artifacts(run.run_id, folders.pop() or None):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                found.append("+".join(entry.path.split("+")[:3]) + Path(entry.path).suffix)
    return sorted(found)


def assert_complete(output: Path, reference: Path) -> None:
    """One finished run, in MLflow and on disk, that equals the undisturbed one bit for bit; nothing left
    over."""
    (run,), (expected,) = recorded(output), recorded(reference)
    assert run.status == "FINISHED"
    assert_same_record(run, expected)
    (folder,), (other,) = run_folders(output), run_folders(reference)
    assert_same_weights(folder, other)
    assert epochs(folder) == epochs(other)
    left = [p.name for p in folder.iterdir() if p.name.startswith(("state", "unsent")) or p.suffix == ".tmp"]
    assert left == []
    assert list((output / "unfinished").iterdir()) == []


def epochs(folder: Path) -> list[dict]:
    """The lines of epochs.jsonl, without times."""
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def write_images(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks/scratch"):
        (root / folder).mkdir(parents=True)
    for i in range(40):
        image = rng.integers(60, 120, (48, 48)).astype(np.uint8)
        if i % 3 == 0:
            mask = np.zeros((48, 48), np.uint8)
            mask[10:20, 10:30] = 255
            image[mask > 0] += 100
            cv2.imwrite(str(root / "masks/scratch" / f"{i:02}.png"), mask)
        cv2.imwrite(str(root / "images" / f"{i:02}.png"), image)
    return root
