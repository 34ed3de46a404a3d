"""Images as the model sees them, decoded in threads ahead of it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sbp.config import Config
from sbp.predict.folder import UNREADABLE, read_as_trained, reason_of, resizer_of

AHEAD = 4
"""Batches that are decoded ahead."""


def read_ahead(
    pool: ThreadPoolExecutor,
    parts: Sequence[Sequence[PurePosixPath]],
    read: Callable[[PurePosixPath], "ReadImage"],
) -> Iterator[list["ReadImage"]]:
    """What was read of each part, in order; a few parts are read ahead, never all."""
    waiting: deque[list[Future[ReadImage]]] = deque()
    for part in parts:
        waiting.append([pool.submit(read, image) for image in part])
        if len(waiting) > AHEAD:
            yield [future.result() for future in waiting.popleft()]
    while waiting:
        yield [future.result() for future in waiting.popleft()]


@dataclass(frozen=True)
class ReadImage:
    """One image as the model sees it, (H, W, C) uint8; None, and why, if it cannot be read."""

    image: PurePosixPath
    size: int
    modified_ns: int
    pixels: np.ndarray | None
    error: str = ""


def read_seen(folder: Path, image: PurePosixPath, config: Config) -> ReadImage:
    """One image below `folder`; what is wrong with it is part of the answer."""
    path = folder / image
    try:
        about = path.stat()
        pixels = read_as_trained(path, config)
        return ReadImage(
            image, about.st_size, about.st_mtime_ns, resizer_of(config, pixels.shape).image(pixels)
        )
    except UNREADABLE as error:
        return ReadImage(image, 0, 0, None, reason_of(path, error))
