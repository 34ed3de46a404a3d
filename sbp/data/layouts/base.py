"""What a layout is: it finds the images, annotations, groups and official splits of a data set on disk.

And what the keys mean that several layouts have, and which values they take.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import checked_root, expect_some
from sbp.errors import UserError
from sbp.plugins.checks import require
from sbp.plugins.registry import Registry


class Layout(ABC):
    """How a data set lies on the disk.

    A subclass that is registered in LAYOUTS is an option of the config group `data`. Its constructor's
    parameters are the option's own keys, beside those that every set on disk has (root, defects, fit, ...);
    it raises ValueError("KEY=VALUE: must be ...") for one out of range. `items` finds the images.

    expected: what the layout looks like and where the set can be had; it ends the messages. folders: those
    that must be there, relative to the root; {key} stands for the value of a key.
    """

    name: ClassVar[str]
    expected: ClassVar[str] = ""
    folders: ClassVar[Sequence[str]] = ()

    def list(self, root: str | None, defects: Sequence[str]) -> Listing:
        """The data set below `root`, data.root of the config; defects: those to learn.

        Raises UserError, before any image is read, for files that are missing or contradict each other.
        """
        path = checked_root(root, self.expected, [name.format(**vars(self)) for name in self.folders])
        items = self.items(path, defects)
        expect_some(items, path, self.expected)
        return Listing(path, tuple(defects), items)

    @abstractmethod
    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        """The images below `root`. Those that show another defect than `defects` are to be left out, as
        they would train as healthy. Raises UserError."""


LAYOUTS: Registry[Layout] = Registry("data")
"""Data sets on disk by their name in the config group `data`."""

THRESHOLD = 127
"""Grey value above which a pixel of a mask counts as annotated."""


def check_threshold(value: int) -> None:
    """Raise ValueError for a threshold that no pixel, or every pixel, of an 8-bit mask could exceed."""
    require(0 <= value <= 254, "threshold", value, "between 0 and 254")


def check_group(pattern: str | None) -> None:
    """Raise ValueError for a group that is no regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"group={pattern}: is no regular expression ({error})") from None


def group_of(stem: str, pattern: str | None) -> str:
    """The group of an image by its stem: what the pattern matches, or its first group if it has one; the
    stem itself without a pattern. Raises UserError if the pattern is not found."""
    if pattern is None:
        return stem
    match = re.search(pattern, stem)
    if match is None:
        raise UserError(f"data.group={pattern}: is not found in the name {stem}")
    return match[1] if match.groups() else match[0]
