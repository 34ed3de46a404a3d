"""What the config leaves to the files in data.root: their defects, and how photographs are to be read."""

from pathlib import Path
from types import SimpleNamespace

from omegaconf import DictConfig, OmegaConf

from sbp.config.schemas import make, registered
from sbp.data.classes import ImageFolder
from sbp.data.layouts.base import Layout
from sbp.errors import UserError


def fill_from_files(cfg: DictConfig) -> None:
    """Set data.defects, if it is empty, to all that the files in data.root name, and data.exif, if it is
    null, to what their layout wants.

    In place, before interpolations of them are resolved. Raises UserError if the files cannot be read.
    """
    data = cfg.get("data")
    if not isinstance(data, DictConfig):
        return
    chosen = registered("data", data.name)
    if issubclass(chosen, ImageFolder) and not data.get("defects"):
        data.defects = chosen.defects_in(data.root)
    if not issubclass(chosen, Layout):
        return
    values = OmegaConf.to_container(data, resolve=True)
    layout: Layout = make("data", SimpleNamespace(**values))  # type: ignore[arg-type]
    if not data.get("defects"):
        root = layout.checked(data.root)
        key = (str(root), repr(layout))
        if key not in _found:  # a sweep asks for each of its jobs
            _found[key] = list(layout.defects_in(root))
            if not _found[key]:
                raise UserError(f"data.root={data.root}: its files name no defect; {layout.expected}")
        data.defects = _found[key]
    if data.exif is None and data.root and Path(data.root).is_dir():
        data.exif = "apply" if layout.shown(Path(data.root)) else "ignore"


_found: dict[tuple[str, str], list[str]] = {}
