"""What a data set on disk consists of before any image is read: files, defects, groups, official splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbp.data.disk.annotations import Annotation


@dataclass(frozen=True)
class Item:
    """One image.

    name: unique in the set, how messages, reports and the split file call it. annotations: of each defect;
    several are merged; none, or only empty ones, for a healthy image. group: what must be in one split, such
    as the part; images of one group are never in two. split: the official one, or None. labels: the defects
    that a folder or table says the image has, though an annotation may still be empty; None where only the
    annotations tell.
    """

    name: str
    image: Path
    annotations: Mapping[str, tuple[Annotation, ...]] = field(default_factory=dict)
    group: str = ""
    split: str | None = None
    labels: tuple[str, ...] | None = None
    void: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Listing:
    """All images of a set. defects: those to learn. root: names in messages and the cache's key are relative
    to it. exif: whether the annotations were drawn on images as they are shown, not as they are stored.
    about: the layout that was recognised, as words of a command line."""

    root: Path
    defects: tuple[str, ...]
    items: Sequence[Item]
    exif: bool = False
    about: str = ""
