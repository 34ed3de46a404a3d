"""What a data set on disk consists of before any image is read: files, defects, groups, official splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbp.data.disk.annotations import Mark


@dataclass(frozen=True)
class Item:
    """One image.

    name: unique in the set, how messages, reports and the split file call it. marks: for each defect what
    marks it; several are merged; none, or only empty ones, for a healthy image. group: what must not be torn
    apart by a split, such as the part; images of one group are never in two splits. split: the official one,
    or None. filed: the defects that the folder or table says the image has, though a mark may still be empty;
    None where only the marks tell.
    """

    name: str
    image: Path
    marks: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)
    group: str = ""
    split: str | None = None
    filed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Listing:
    """All images of a set. defects: those to learn. root: names in messages and the cache's key are relative
    to it."""

    root: Path
    defects: tuple[str, ...]
    items: Sequence[Item]
