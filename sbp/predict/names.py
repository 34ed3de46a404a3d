"""Which files below a folder are images to predict, and what their predictions are called."""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from sbp.data.disk.decode import SUFFIXES
from sbp.errors import UserError

MOST_BYTES = 240
"""Of a name without its suffix: file systems take 255, a temporary file has two suffixes."""


IMAGES = {"images", "JPEGImages"}
ANNOTATIONS = {"masks", "labels", "SegmentationClass", "SegmentationObject"}
"""Folders of a data set, see sbp.data.layouts."""


def images_below(folder: Path, left_out: Collection[Path] = ()) -> list[PurePosixPath]:
    """The images in `folder` and its subfolders, relative to it and in order. Hidden ones (.name), subfolders
    that are symbolic links, masks beside the images of a data set, and the folders `left_out` are not looked
    at. Raises UserError for a subfolder that cannot be read."""

    def unreadable(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None

    folder, images = folder.resolve(), []
    away = {path.resolve() for path in left_out}
    for place, folders, files in os.walk(folder, onerror=unreadable):
        hidden = {name for name in folders if name[0] == "." or Path(place, name) in away}
        if not IMAGES.isdisjoint(folders):  # a data set: what lies beside its images are annotations
            hidden |= ANNOTATIONS & set(folders)
        folders[:] = [name for name in folders if name not in hidden]
        names = [name for name in files if name[0] != "." and Path(name).suffix.lower() in SUFFIXES]
        images += [PurePosixPath(Path(place, name).relative_to(folder).as_posix()) for name in names]
    return sorted(images)


def output_names(
    images: Iterable[PurePosixPath], taken: Collection[PurePosixPath] = ()
) -> dict[PurePosixPath, PurePosixPath]:
    """For each image a file of its own in the same subfolder: `<stem>.png` if no other would be called so,
    else its whole name and .png, else that with a number.

    taken: names that are not free. No two names are equal, also where a file system takes upper and lower
    case or the two ways to write an umlaut for the same; they depend on nothing but the arguments.
    """
    rank = dict.fromkeys(sorted(images), 0)
    # a folder among the outputs may be called as a file would be
    blocked = {_key(place) for path in [*rank, *taken] for place in path.parents} | set(map(_key, taken))
    while True:
        wanting = defaultdict(list)
        for image in rank:
            wanting[_key(_candidate(image, rank[image]))].append(image)
        refused: list[PurePosixPath] = []
        for key, claimants in wanting.items():
            if key in blocked:
                refused += claimants
            elif len(claimants) > 1:  # a stem gives way to a whole name; of whole names, the first stays
                refused += [image for image in claimants if not rank[image]] or claimants[1:]
        if not refused:
            return {image: _candidate(image, rank[image]) for image in rank}
        for image in refused:
            rank[image] += 1


def _candidate(image: PurePosixPath, rank: int) -> PurePosixPath:
    name = image.stem if rank == 0 else image.name if rank == 1 else f"{image.name}~{rank}"
    content = name.encode("utf-8", "surrogateescape")
    if len(content) > MOST_BYTES:
        digest = hashlib.sha256(content).hexdigest()[:8]
        name = f"{content[: MOST_BYTES - 9].decode('utf-8', 'ignore')}~{digest}"
    return image.with_name(f"{name}.png")


def _key(path: PurePosixPath) -> str:
    """Equal for paths that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
