"""What files hold, as digests: a copied or moved set of images is the same set, a changed one is not."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sbp.errors import UserError
from sbp.utils.files import write_atomically

CHUNK = 1 << 20
WORTH_SAYING = 1e9
"""Bytes to read from which it is said that this takes a moment."""
UNREADABLE = "unreadable"

log = logging.getLogger("sbp")


def digests(paths: Sequence[Path], memory: Path | None = None) -> list[str]:
    """16 hex digits of the bytes of each file; UNREADABLE for one that cannot be read, which is for those to
    say who need its pixels.

    memory: a file in which they are kept, so that only files whose size or time of change is new are read.
    Raises UserError for a file that is not there.
    """
    known = _remembered(memory)
    states = {os.path.abspath(path): _state(path) for path in paths}
    new = [path for path, state in states.items() if known.get(path, [])[:2] != state]
    if new:
        size = sum(states[path][0] for path in new)
        if size > WORTH_SAYING:
            log.info("reading %d files once (%.1f GB) to know what they hold", len(new), size / 1e9)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, digest in zip(new, pool.map(_digest, new), strict=True):
                known[path] = [*states[path], digest]
        if memory is not None:
            _remember({path: about for path, about in known.items() if about[2] != UNREADABLE}, memory)
    return [known[os.path.abspath(path)][2] for path in paths]


def _remembered(memory: Path | None) -> dict[str, list]:
    """Absolute path to size, time of change, digest."""
    if memory is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return dict(json.loads(memory.read_text()))
    return {}


def _remember(known: dict[str, list], memory: Path) -> None:
    """Parallel jobs may do so at once: the last one's knowledge stays."""
    with contextlib.suppress(OSError, UserError):  # the files are read again, that is all
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(known), durable=False, shared=True)


def _state(path: Path) -> list[int]:
    try:
        about = os.stat(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return [about.st_size, about.st_mtime_ns]


def _digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return UNREADABLE
    return digest.hexdigest()
