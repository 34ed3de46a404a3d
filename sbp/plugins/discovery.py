"""Packages from outside that add options: found by their entry point, imported before the config is composed.

A package takes part with an entry point in the group `sbp.plugins` that names its module:

    [project.entry-points."sbp.plugins"]
    my_package = "my_package"

Importing the module must register its classes (see Registry). Beside it lie the folders `conf/`, which Hydra
searches after the project's own, and `experiments/`, whose sections reports find.
"""

import hashlib
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from sbp.errors import UserError

GROUP = "sbp.plugins"
OURS = __name__.partition(".")[0]


@cache
def load_plugins() -> tuple[str, ...]:
    """Import every installed plugin, once per process; returns the names of their modules. Raises
    UserError for one that cannot be imported."""
    return tuple(_load(entry) for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name))


def _load(entry: EntryPoint) -> str:
    module = entry.value.partition(":")[0].strip()
    try:
        import_module(module)
    except Exception as error:  # whatever a foreign module raises
        distribution = f" of {entry.dist.name}" if entry.dist is not None else ""
        raise UserError(
            f"plugin {entry.name}{distribution}: importing {module} failed: {type(error).__name__}: {error}"
        ) from error
    return module


def plugin_folders(name: str) -> list[Path]:
    """The folder `name` (conf, experiments) of each plugin that has one."""
    folders = [_folder(module) / name for module in load_plugins()]
    return [folder for folder in folders if folder.is_dir()]


def _folder(module: str) -> Path:
    return _files(module)[0].parent


def foreign_source(cls: type) -> str | None:
    """16 hex digits of the source of the package that a class comes from; None for the project's own classes,
    whose behaviour the results version stands for."""
    top = cls.__module__.partition(".")[0]
    return None if top == OURS else _source_digest(top)


@cache
def _source_digest(top: str) -> str:
    files = _files(top)
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(files[0].parent)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(module: str) -> list[Path]:
    """The module's own file, and for a package all others below its folder."""
    found = import_module(module)
    if found.__file__ is None:
        raise UserError(f"plugin {module}: has no __init__.py, so that its files cannot be found")
    own = Path(found.__file__).resolve()
    if own.name != "__init__.py":
        return [own]
    return [own, *sorted(path for path in own.parent.rglob("*.py") if path != own)]
