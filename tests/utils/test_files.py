"""Files that are whole or not there; locks that go with the process that holds them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import Timeout

from sbp.errors import UserError
from sbp.utils.files import FolderHeld, file_lock, is_held, sole_writer, write_atomically
from tests.conftest import ROOT


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", ["grün", "grün".encode(), lambda file: file.write("grün".encode())])
def test_text_bytes_or_a_function_are_written(tmp_path, content, durable):
    path = tmp_path / "file.json"
    path.write_text("before")
    write_atomically(path, content, durable=durable)
    assert path.read_text(encoding="utf-8") == "grün"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail(file) -> None:
        file.write(b"half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line(tmp_path):
    def fail(file) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"file: no space left on the disk \(\d+ MB free\)"):
        write_atomically(tmp_path / "file", fail)


def test_processes_that_share_a_file_do_not_take_each_others_half(tmp_path):
    """Each has a temporary file of its own."""
    path = tmp_path / "file"
    seen = []
    write_atomically(path, lambda file: seen.extend(tmp_path.iterdir()), shared=True)
    assert [entry.name for entry in seen] == [f"file.{os.getpid()}.tmp"]


def test_the_message_names_the_process_that_holds_the_folder(tmp_path):
    with (
        sole_writer(tmp_path),
        pytest.raises(FolderHeld, match=rf"another run \(process {os.getpid()}\) writes there"),
        sole_writer(tmp_path, patience_s=0),
    ):
        pass
    assert not is_held(tmp_path)
    with sole_writer(tmp_path):
        assert is_held(tmp_path)


def test_a_folder_without_a_lock_is_not_held_and_stays_as_it_is(tmp_path):
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_a_lock_is_logged_once_it_is_needed(tmp_path, caplog):
    caplog.set_level("INFO", logger="sbp")
    path, held = tmp_path / "lock", threading.Event()
    with file_lock(path, waiting="waiting for it"):
        assert not caplog.records

    def hold() -> None:
        with file_lock(path):
            held.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    with file_lock(path, waiting="waiting for it"):
        assert [record.message for record in caplog.records] == ["waiting for it"]
    holder.join()
    with file_lock(path), pytest.raises(Timeout), file_lock(path, patience_s=0.05):
        pass


HOLDER = """
import os, sys, time
from pathlib import Path
from sbp.utils.files import sole_writer
with sole_writer(Path(sys.argv[1])):
    loader = os.fork()
    if loader == 0:
        os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="loader processes are forked")
def test_a_loader_process_does_not_hold_the_folder_of_a_run_that_was_killed(tmp_path):
    """It is a copy of the run's process, with all that is open there, and ends some seconds after it."""
    run = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    loader = int(run.stdout.readline())
    try:
        assert is_held(tmp_path)
        run.kill()
        run.wait()
        os.kill(loader, 0)  # it is still there
        assert not is_held(tmp_path)
        with sole_writer(tmp_path, patience_s=0):
            assert Path(tmp_path / ".lock").read_text() == str(os.getpid())
    finally:
        os.kill(loader, signal.SIGKILL)
