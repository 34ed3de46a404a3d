"""What a layout is: it finds the images, annotations, groups and official splits of a data set on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import checked_root, expect_some
from sbp.plugins.registry import Registry


class Layout:
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

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        """The images below `root`. Those that show another defect than `defects` are to be left out, as
        they would train as healthy. Raises UserError."""
        raise NotImplementedError


LAYOUTS: Registry[Layout] = Registry("data")
"""Data sets on disk by their name in the config group `data`."""
