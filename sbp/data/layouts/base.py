"""What a layout is: it finds the images, annotations, groups and official splits of a data set on disk.

And what the keys mean that several layouts have, and which values they take.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import checked_root, expect_some
from sbp.errors import UserError
from sbp.plugins.checks import at_least, require
from sbp.plugins.registry import Registry


class Layout(ABC):
    """How a data set lies on the disk.

    A subclass that is registered in LAYOUTS is an option of the config group `data`. Its constructor's
    parameters are the option's own keys, beside those that every set on disk has (root, defects, fit, ...);
    it raises ValueError("KEY=VALUE: must be ...") for one out of range. `items` finds the images.

    expected: what the layout looks like and where the set can be had; it ends the messages. folders: those
    that must be there, relative to the root; {key} stands for the value of a key. drawn_as_shown: whether
    tools that write it show images rotated as EXIF says, so that annotations fit only then.
    """

    name: ClassVar[str]
    expected: ClassVar[str] = ""
    folders: ClassVar[Sequence[str]] = ()
    drawn_as_shown: ClassVar[bool] = False

    def list(self, root: str | None, defects: Sequence[str] = ()) -> Listing:
        """The data set below `root`, data.root of the config; defects: those to learn, none: all that the
        files name.

        Raises UserError, before any image is read, for files that are missing or contradict each other.
        """
        path = self.checked(root)
        defects = tuple(defects) or tuple(self.defects_in(path))
        items = self.items(path, defects)
        expect_some(items, path, self.expected)
        return Listing(path, defects, items, self.drawn_as_shown)

    def checked(self, root: str | None) -> Path:
        """The folder `root`. Raises UserError if it, or what must be in it, is not there."""
        return checked_root(root, self.expected, [name.format(**vars(self)) for name in self.folders])

    def shown(self, root: Path) -> bool:
        """Whether the annotations below `root` fit images as they are shown, see drawn_as_shown."""
        return self.drawn_as_shown

    def defects_in(self, root: Path) -> Sequence[str]:
        """What the files call their defects; empty if they name none. Raises UserError."""
        return ()

    @classmethod
    def recognised(cls, root: Path) -> "Layout | None":
        """The layout with the keys under which it reads what lies below `root`, None if that looks otherwise;
        for data=auto. It looks at names of files and at one or two of them, not at all."""
        return None

    @abstractmethod
    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        """The images below `root`. Those that show another defect than `defects` are to be left out, as
        they would train as healthy. Raises UserError."""


@dataclass(frozen=True)
class OwnImages(Layout):
    """What layouts of images of one's own have in common. ignore: defects that are not learnt; images that
    have one are left out. group, group_size: see group_of."""

    ignore: list[str] = field(default_factory=list)
    group: str | None = None
    group_size: int = 1

    def __post_init__(self) -> None:
        check_group(self.group, self.group_size)

    def group_of(self, key: str) -> str:
        """The group of an image by what it is called."""
        return group_of(key, self.group, self.group_size)


LAYOUTS: Registry[Layout] = Registry("data")
"""Data sets on disk by their name in the config group `data`."""

THRESHOLD = 127
"""Grey value above which a pixel of a mask counts as annotated."""


def check_threshold(value: int) -> None:
    """Raise ValueError for a threshold that no pixel, or every pixel, of an 8-bit mask could exceed."""
    require(0 <= value <= 254, "threshold", value, "between 0 and 254")


def check_group(pattern: str | None, size: int = 1) -> None:
    """Raise ValueError for a group that is no regular expression, or a group_size below 1."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"group={pattern}: is no regular expression ({error})") from None
    at_least(1, group_size=size)


def group_of(key: str, pattern: str | None, size: int = 1) -> str:
    """The group of an image by what it is called: what the pattern matches, or its first group if it has one;
    the whole name without a pattern. size: so many consecutive numbers are one group, from 0. Raises
    UserError if the pattern is not found, or finds no number where size is above 1."""
    if pattern is None and size == 1:
        return key
    match = re.search(pattern or r"\d+", key)
    if match is None:
        raise UserError(f"data.group={pattern}: is not found in the name {key}")
    found = match[1] if match.groups() else match[0]
    if size == 1:
        return found
    if not found.isdecimal():
        raise UserError(f"data.group_size={size}: needs numbers, data.group={pattern} finds {found} in {key}")
    return str(int(found) // size)
