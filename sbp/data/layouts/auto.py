"""Whatever lies in a folder, recognised by its files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.base import LAYOUTS, Layout, OwnImages
from sbp.errors import UserError

KEYS = ("group", "group_size", "ignore")
"""Passed on to the layout that is found, if it has them."""


@LAYOUTS.register("auto")
@dataclass(frozen=True)
class Auto(OwnImages):
    """The layout that the files in the root have: labelme, YOLO, COCO, VOC and CVAT, masks, a table, or a
    public set. ignore: defects that are not learnt; their images are left out. group, group_size: see
    group_of."""

    expected = "expected is a folder of images with annotations, as docs/own_images.md shows them"

    def list(self, root: str | None, defects: Sequence[str] = ()) -> Listing:
        found = self.found(self.checked(root))
        listing = found.list(root, defects)
        about = f"data={found.name}{_differences(found)} data.defects=[{','.join(listing.defects)}]"
        return replace(listing, about=about)

    def shown(self, root: Path) -> bool:
        return self.found(root).shown(root)

    def defects_in(self, root: Path) -> Sequence[str]:
        return self.found(root).defects_in(root)

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        return self.found(root).items(root, defects)

    def found(self, root: Path) -> Layout:
        """The layout of a folder. Raises UserError if none fits, or several do."""
        found = _recognised(root)
        if len(found) > 1:
            names = " and ".join(f"data={layout.name}" for layout in found)
            raise UserError(f"data.root={root}: looks like {names}; choose one")
        if not found:
            there = ", ".join(sorted(path.name[:30] for path in root.iterdir())[:8]) or "nothing"
            near = next((folder for folder in sorted(root.iterdir()) if _recognised(folder)), None)
            hint = f"did you mean data.root={near}?" if near else "see docs/own_images.md for those there are"
            raise UserError(f"data.root={root}: no known layout, it holds {there}; {hint}")
        keys = {key: getattr(self, key) for key in KEYS if key in vars(found[0])}
        return replace(found[0], **keys)  # type: ignore[type-var]


def _recognised(folder: Path) -> list[Layout]:
    if not folder.is_dir() or folder.name.startswith("."):
        return []
    return [layout for cls in LAYOUTS.values() if (layout := cls.recognised(folder)) is not None]


def _differences(layout: Layout) -> str:
    """The keys of a layout that differ from its defaults, as words of a command line."""
    defaults = {f.name: f.default for f in fields(layout)} | {"ignore": []}  # type: ignore[arg-type]
    said = {key: value for key, value in vars(layout).items() if value and value != defaults[key]}
    return "".join(f" data.{key}={value}" for key, value in said.items())
