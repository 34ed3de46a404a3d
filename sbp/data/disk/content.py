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

LOGGED_BYTES = 1e9
"""Bytes to read from which a log line says so."""
UNREADABLE = "unreadable"

log = logging.getLogger("sbp")


def file_digests(paths: Sequence[Path], cache: Path | None = None) -> list[str]:
    """16 hex digits of the bytes of each file; UNREADABLE for one that cannot be read, which is for those to
    say who need its pixels.

    cache: a file in which they are kept, so that only files whose size or time of change is new are read.
    Raises UserError for a file that is not there.
    """
    known: dict[str, list] = {}  # absolute path to size, time of change, digest
    if cache is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = dict(json.loads(cache.read_text()))
    states = {os.path.abspath(path): _state(path) for path in paths}
    new = [path for path, state in states.items() if known.get(path, [])[:2] != state]
    if new:
        size = sum(states[path][0] for path in new)
        if size > LOGGED_BYTES:
            log.info("reading %d files once (%.1f GB) to know what they hold", len(new), size / 1e9)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, digest in zip(new, pool.map(_digest, new), strict=True):
                known[path] = [*states[path], digest]
        if cache is not None:
            kept = {path: about for path, about in known.items() if about[2] != UNREADABLE}
            # parallel jobs may write at once: the last one's digests stay; without any, files are read again
            with contextlib.suppress(OSError, UserError):
                cache.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(cache, json.dumps(kept), durable=False, shared=True)
    return [known[os.path.abspath(path)][2] for path in paths]


def _state(path: Path) -> list[int]:
    try:
        about = os.stat(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return [about.st_size, about.st_mtime_ns]


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError:
        return UNREADABLE
