"""Defects that the files name: what `data.defects` is where the config says nothing."""

from types import SimpleNamespace

from omegaconf import DictConfig, OmegaConf

from sbp.config.schemas import make, registered
from sbp.data.layouts.base import Layout


def fill_defects(cfg: DictConfig) -> None:
    """Set data.defects to all that the files in data.root name, if it is empty and the layout has names.

    In place, before interpolations of it are resolved. Raises UserError if the files cannot be read.
    """
    data = cfg.get("data")
    if not isinstance(data, DictConfig) or data.get("defects"):
        return
    if not issubclass(registered("data", data.name), Layout):
        return
    values = OmegaConf.to_container(data, resolve=True)
    layout: Layout = make("data", SimpleNamespace(**values))  # type: ignore[arg-type]
    key = (data.root, repr(layout))
    if key not in _found:  # a sweep asks for each of its jobs
        _found[key] = list(layout.defects_in(layout.checked(data.root)))
    data.defects = _found[key]


_found: dict[tuple[str, str], list[str]] = {}
