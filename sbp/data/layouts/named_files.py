"""Files that an annotation file names: with folders of another machine, backslashes, or beside it."""

import os
import posixpath
from functools import cached_property
from pathlib import Path

from sbp.data.disk.decode import SUFFIXES
from sbp.data.layouts.files import images_below, inside
from sbp.errors import UserError


class NamedFiles:
    """Finds the images of `root` that annotation files name. folder: where they usually lie, below it."""

    def __init__(self, root: Path, folder: str):
        self.root, self.folder = root, folder

    def find(self, name: str, beside: Path, where: str) -> tuple[str, Path]:
        """What the image is called, and its path. beside: the annotation file's folder, below the root.

        The name is taken as it is, in the usual folder, beside the annotation file or below the root; else
        the only image that is called as its last part. Raises UserError if there is none, or are several.
        """
        plain = posixpath.normpath(name.replace("\\", "/"))
        for place in (self.folder, beside.as_posix(), "."):
            known = posixpath.normpath(posixpath.join(place, plain))
            if not known.startswith("../") and os.path.isfile(self.root / known):
                called = plain if place == self.folder else known
                return called, inside(self.root, known, where)
        usual = self.root / self.folder / plain
        if os.path.islink(usual):  # one that leads nowhere
            inside(self.root / self.folder, plain, where)
        same = self._by_last_part.get(posixpath.basename(plain).lower(), [])
        if len(same) == 1:
            return same[0].relative_to(self.root).as_posix(), same[0]
        if same:
            names = " and ".join(path.relative_to(self.root).as_posix() for path in same[:3])
            raise UserError(f"{where}: {name} may be {names}; file_name must say which")
        folder = self.root / self.folder
        inside(folder if folder.is_dir() else self.root, plain, where)
        raise UserError(f"{where}: {name}: must be an image ({', '.join(SUFFIXES)})")

    @cached_property
    def _by_last_part(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in images_below(self.root):
            found.setdefault(path.name.lower(), []).append(path)
        return found
