"""Files that are whole or not there, and locks on files and folders."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout, has_fcntl

from sbp.errors import UserError

LOCK = ".lock"
"""A folder's lock file; in it, where the system lets it be read, the number of the process that holds it."""

log = logging.getLogger("sbp")


def write_atomically(
    path: Path,
    content: str | bytes | Callable[[BinaryIO], object],
    durable: bool = True,
    shared: bool = False,
) -> None:
    """Write a temporary file and put it in the place of `path`, which is what it was or what it is to be.

    content: text (written as UTF-8), bytes, or a function that writes to the open file. durable: the content
    is on the disk before `path` changes, so that this also holds if the machine goes down; costs some
    milliseconds. shared: several processes may write `path` at once; the last one wins. Raises UserError
    where the disk is full; `path` then stays as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    with disk_full_as_user_error(path):
        try:
            with open(temporary, "wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if durable:
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
def disk_full_as_user_error(path: Path) -> Iterator[None]:
    """Turn "no space left" into a UserError that names `path` and what is free."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        # torch's writer has errors of its own
        if not full and not any(text in str(error) for text in ("unexpected pos", "file write failed")):
            raise
        free = shutil.disk_usage(path.parent).free
        raise UserError(
            f"{path}: no space left on the disk ({free / 1e6:.0f} MB free); what was there before is intact: "
            "make room, and start again (a run: with if_exists=resume)"
        ) from None


class FolderHeld(UserError):
    """Another process holds the folder."""


@contextlib.contextmanager
def file_lock(path: Path, patience_s: float = -1, waiting: str = "") -> Iterator[None]:
    """Hold the lock file `path`; the lock goes with the process that holds it, however that ends.

    A process that was forked meanwhile, such as a loader's worker, does not hold it: filelock closes the
    file in the child. patience_s: how long to wait for it, below 0 for ever; raises filelock.Timeout after
    that. waiting: logged if it is not free at once.
    """
    lock = FileLock(path, poll_interval=0.02)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting:
            log.info(waiting)
        lock.acquire(timeout=patience_s)
    try:
        if has_fcntl:
            with contextlib.suppress(OSError):  # on a full disk it is held without saying by whom
                path.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def sole_writer(folder: Path, lock: str = LOCK, patience_s: float = 1.0) -> Iterator[None]:
    """Hold the folder, which is made if need be. Raises FolderHeld if another process or thread holds it for
    longer than patience_s (`is_held` and `sbp sync` do for a moment). lock: the name of the lock file, one
    for each thing that is done by one at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / lock, patience_s))
        except Timeout:
            raise FolderHeld(
                f"{folder}: another run (process {_holder(folder / lock)}) writes there; "
                "choose another folder with hydra.run.dir"
            ) from None
        yield


def _holder(path: Path) -> str:
    try:
        return path.read_text().split()[0]
    except (OSError, IndexError):
        return "unknown"


def is_held(folder: Path, lock: str = LOCK) -> bool:
    """Whether a process that lives holds the folder."""
    path = folder / lock
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except OSError as error:  # Timeout is one
        return isinstance(error, Timeout)
