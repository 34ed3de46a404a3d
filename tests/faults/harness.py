"""Real training processes to be hurt, and what must be true of them afterwards."""

import contextlib
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from tests.processes import Process, start

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
DISTRIBUTED = ("selection=selective", "beta=b8", "tracking.gallery_images=0")


class Victim(Process):
    """A training process."""

    @classmethod
    def start(cls, output: Path, *arguments: str, **environment: str) -> "Victim":
        output.mkdir(parents=True, exist_ok=True)
        # -m, if it is there, comes first; of a key given twice, the last counts
        flags = [a for a in arguments if a == "-m"]
        given = [*flags, *SMALL, *(a for a in arguments if a != "-m")]
        begun = start("sbp.train", *given, output=output, log=output / "log.txt", **environment)
        return cls(begun.pid, begun.log)


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


def followers(leader: int) -> list[int]:
    """Processes that it has started to follow it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == leader and b"sbp.run.follower" in words:
                found.append(int(folder.name))
    return found


def wait_until_gone(pids: list[int], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while any(Path(f"/proc/{pid}/cmdline").exists() and not is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline, "a follower lives on"
        time.sleep(0.1)


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def some_epochs(output: Path, count: int) -> bool:
    return any(len((f / "epochs.jsonl").read_text().splitlines()) >= count for f in run_folders(output))


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
