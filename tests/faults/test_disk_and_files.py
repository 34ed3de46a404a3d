"""Full disks, damaged and foreign files, two runs in one folder: one clear line, and nothing lost."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from sbp.errors import UserError
from sbp.run.state import load_state, save_state
from sbp.utils.files import write_atomically
from tests.faults.harness import (
    Victim,
    assert_complete,
    assert_same_weights,
    recorded,
    run_folders,
)


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system of so many megabytes."""
    mounted = []

    def mount(megabytes: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(place)]
        if subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("mounting a small file system is not allowed here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def interrupted(undisturbed, output: Path) -> Path:
    """Folder of a run that was stopped in the middle."""
    output.mkdir(parents=True, exist_ok=True)
    shutil.copytree(undisturbed / "cache", output / "cache")
    victim = Victim.start(output)
    victim.wait_for(
        lambda: any(len(f.read_text().splitlines()) > 2 for f in output.glob("runs/*/*/epochs.jsonl"))
    )
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 143
    return run_folders(output)[0]


def test_a_file_is_what_it_was_when_the_disk_is_full(small_disk):
    disk = small_disk(2)
    write_atomically(disk / "file", lambda file: file.write(b"before"))
    with pytest.raises(
        UserError, match=r"file: no space left on the disk \(\d MB free\); what was there before"
    ):
        write_atomically(disk / "file", lambda file: file.write(bytes(4_000_000)))
    assert (disk / "file").read_bytes() == b"before"
    assert [p.name for p in disk.iterdir()] == ["file"]
    folder = disk / "run"
    folder.mkdir()
    save_state(folder, "me", {"x": torch.arange(10)})
    with pytest.raises(UserError, match="no space left on the disk"):
        save_state(folder, "me", {"x": torch.zeros(2_000_000)})
    state = load_state(folder, "me")
    assert state is not None
    assert torch.equal(state["x"], torch.arange(10))


def test_a_disk_that_is_too_small_is_said_before_training(undisturbed, small_disk, fault):
    tally = fault("disk too small from the start")
    tally.tried()
    output = small_disk(40) / "out"
    output.mkdir()
    shutil.copytree(undisturbed / "cache", output / "cache")
    victim = Victim.start(output)
    assert victim.wait() == 2
    text = victim.log.read_text()
    assert "a run needs up to" in text
    assert "Traceback" not in text
    assert run_folders(output) == []
    tally.survived()


@pytest.mark.faults
@pytest.mark.parametrize("megabytes", [0, 1, 2])
def test_a_disk_that_fills_up_in_the_middle(undisturbed, small_disk, fault, megabytes):
    """Filled to the brim, or but for a megabyte or two, while the run trains; then there is room again."""
    tally = fault("disk full in the middle of a run")
    tally.tried()
    output = small_disk(400) / "out"
    output.mkdir()
    shutil.copytree(undisturbed / "cache", output / "cache")
    victim = Victim.start(output, "budget.compute=6")
    victim.wait_for(lambda: len(run_folders(output)) > 0)
    filling = output.parent / "filling"
    free = shutil.disk_usage(output).free - megabytes * 1_000_000
    with open(filling, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while free > 0:
            free -= file.write(bytes(min(free, 100_000)))
    code = victim.wait()
    text = victim.log.read_text()
    assert code == 2, text[-2000:]
    assert "no space left on the disk" in text
    assert "Traceback" not in text
    filling.unlink()
    victim = Victim.start(output, "if_exists=resume")
    assert victim.wait() == 0, victim.log.read_text()[-3000:]
    assert_complete(output, undisturbed)
    tally.survived()


DAMAGES = {
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "another kind of file": lambda path: path.write_bytes(b"PNG" * 1000),
    "one byte changed": lambda path: _flip(path),
    "another program's": lambda path: torch.save({"weights": torch.zeros(3)}, path),
    "code in it": lambda path: torch.save(_Bomb(), path),
    "another run's": lambda path: save_foreign(path),
}


executed: list[str] = []


def explode() -> None:
    executed.append("the code of a file")


class _Bomb:
    def __reduce__(self):
        return explode, ()


def test_the_bomb_goes_off_where_code_is_let_in(tmp_path):
    """Else the test below would prove nothing."""
    torch.save(_Bomb(), tmp_path / "bomb.pt")
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert executed.pop()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def save_foreign(path: Path) -> None:
    save_state(path.parent, "another identity", {})


@pytest.fixture(scope="module")
def stopped(undisturbed, tmp_path_factory) -> Path:
    """The output folder of an interrupted run, to be copied."""
    output = tmp_path_factory.mktemp("stopped")
    interrupted(undisturbed, output)
    return output


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_state_is_passed_over_for_the_one_before(stopped, tmp_path, fault, damage, caplog):
    tally = fault("state damaged or foreign")
    tally.tried()
    folder = tmp_path / "run"
    shutil.copytree(run_folders(stopped)[0], folder)
    identity = torch.load(folder / "state.pt", weights_only=True)["identity"]
    before = torch.load(folder / "state.previous.pt", weights_only=True)
    DAMAGES[damage](folder / "state.pt")
    state = load_state(folder, identity)
    assert "state.pt: cannot be resumed from" in caplog.text
    if damage == "another run's":  # it took the place of both
        state = state or before
    assert state is not None
    assert state["trainer"]["epoch"] == before["trainer"]["epoch"]
    assert not executed
    tally.survived()


@pytest.mark.faults
@pytest.mark.parametrize("damage", ["cut off", "one byte changed", "another run's"])
def test_a_run_resumes_from_the_state_before_or_starts_anew(undisturbed, tmp_path, fault, damage):
    tally = fault("run whose newest state is damaged")
    tally.tried()
    folder = interrupted(undisturbed, tmp_path)
    DAMAGES[damage](folder / "state.pt")
    victim = Victim.start(tmp_path, "if_exists=resume")
    assert victim.wait() == 0, victim.log.read_text()[-3000:]
    assert "cannot be resumed from" in victim.log.read_text()
    if len(run_folders(tmp_path)) == 1:
        assert_complete(tmp_path, undisturbed)
    else:  # not one state was left: the old folder is untouched, the new run complete
        assert (run_folders(tmp_path)[0] / "epochs.jsonl").exists()
        assert (run_folders(tmp_path)[1] / "last.pt").exists()
    tally.survived()


@pytest.mark.slow
def test_two_runs_in_one_folder(undisturbed, tmp_path, fault):
    tally = fault("second run started in the same folder")
    tally.tried(2)
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    place = f"hydra.run.dir={tmp_path}/runs/mine/run"
    first = Victim.start(tmp_path, place)
    first.wait_for(lambda: len(run_folders(tmp_path)) > 0)
    second = Victim.start(tmp_path, place, "seed=1")
    assert second.wait() == 2
    assert f"another run (process {first.pid}) writes there" in second.log.read_text()
    assert first.wait() == 0
    third = Victim.start(tmp_path, place, "seed=1")
    assert third.wait() == 2
    assert "holds a run already; choose another folder with hydra.run.dir" in third.log.read_text()
    assert_complete(tmp_path, undisturbed)
    tally.survived(2)


@pytest.mark.slow
def test_an_interrupted_run_that_still_runs_is_not_taken_over(undisturbed, tmp_path, fault):
    tally = fault("resume while the run is alive")
    tally.tried()
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    first = Victim.start(tmp_path)
    first.wait_for(lambda: len(run_folders(tmp_path)) > 0)
    first.signal(signal.SIGSTOP)
    second = Victim.start(tmp_path, "if_exists=resume")
    second.wait_for(lambda: len(run_folders(tmp_path)) > 1)
    first.signal(signal.SIGCONT)
    assert (first.wait(), second.wait()) == (0, 0)
    assert_same_weights(*run_folders(tmp_path))
    assert "it starts anew" in second.log.read_text()
    assert [run.status for run in recorded(tmp_path)] == ["FINISHED"] * 2
    tally.survived()
