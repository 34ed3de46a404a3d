"""Files that are whole or not there, and folders that one process writes to."""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from sbp.errors import UserError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file, and put it in the place of `path` once it is on the disk.

    Killed at any moment, `path` is what it was or what it is to be. Raises UserError where the disk is full;
    `path` then stays as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    with no_space_is_said(path):
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring renamed entries of a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def no_space_is_said(path: Path) -> Iterator[None]:
    """Turn "no space left" into a UserError that names `path` and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(_full(path)) from None
    except RuntimeError as error:  # torch's writer says it its own way
        if "unexpected pos" not in str(error) and "file write failed" not in str(error):
            raise
        raise UserError(_full(path)) from None


def _full(path: Path) -> str:
    free = shutil.disk_usage(path.parent).free
    return (
        f"{path}: no space left on the disk ({free / 1e6:.0f} MB free); what was there before is intact: "
        "make room, and go on with resume=true"
    )


LOCK = ".lock"


class FolderHeld(UserError):
    """Another process holds the folder."""


_held: set[int] = set()
"""Descriptors of the folders' locks that this process holds."""
_taking = threading.Lock()
"""No process is forked between the opening of a lock's file and the note in _held."""


def _let_go_in_child() -> None:
    """A loader process that outlives its run for some seconds would hold the run's folder as long."""
    _taking.release()
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(before=_taking.acquire, after_in_parent=_taking.release, after_in_child=_let_go_in_child)


@contextlib.contextmanager
def sole_writer(folder: Path, lock: str = LOCK, patience_s: float = 1.0) -> Iterator[None]:
    """Hold the folder for this process. Raises FolderHeld if another one holds it for longer than patience_s
    (`is_held` and `sbp sync` do for a moment); a lock goes with its process, however that ends. lock: its
    file, one for each thing to be done alone."""
    folder.mkdir(parents=True, exist_ok=True)
    give_up_at = time.monotonic() + patience_s
    with _taking:
        file = open(folder / lock, "a+")  # noqa: SIM115
        _held.add(file.fileno())
    try:
        while not _locked(file):
            if time.monotonic() >= give_up_at:
                file.seek(0)
                raise FolderHeld(
                    f"{folder}: another run (process {file.read().strip() or 'unknown'}) writes there; "
                    "choose another folder with hydra.run.dir"
                )
            time.sleep(0.02)
        with contextlib.suppress(OSError):  # on a full disk it is held without saying by whom
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield
    finally:
        with _taking:
            _held.discard(file.fileno())
            file.close()


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(folder: Path) -> bool:
    """Whether a process that lives holds the folder."""
    try:
        with open(folder / LOCK) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
