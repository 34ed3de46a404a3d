"""What `--help` and `sbp options` say: groups, their options, and the keys as the constructors have them."""

import inspect
import itertools
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields
from pathlib import Path

import yaml

from sbp.config.paths import conf_dirs
from sbp.config.schemas import OPEN_GROUPS, all_options, base_of, own_keys, registered, schema
from sbp.errors import UserError

INTERNAL = ("schema", "base", "hydra")


def option_files() -> dict[str, dict[str, Path]]:
    """The YAML file of each option, by group and name; those of plugins too."""
    files: dict[str, dict[str, Path]] = {}
    for folder in conf_dirs():
        for path in sorted(folder.glob("*/*.yaml")):
            if path.parent.name not in INTERNAL:
                files.setdefault(path.parent.name, {})[path.stem] = path
    return files


def options_text(group: str | None = None) -> str:
    """All groups in short, or one group at length. Raises UserError for a group that there is not."""
    list(all_options())  # plugins register theirs
    files = option_files()
    if group is None:
        return "\n".join(f"{name}: {', '.join(sorted(files[name]))}" for name in sorted(files))
    if group not in files:
        raise UserError(f"{group}: must be one of {', '.join(sorted(files))}")
    return "\n\n".join(_option(group, name, path) for name, path in sorted(files[group].items()))


def _option(group: str, option: str, path: Path) -> str:
    """Name and comment of an option's file; of a registered class its docstring and keys."""
    text = path.read_text(encoding="utf-8")
    name = (yaml.safe_load(text) or {}).get("name", option)
    known = group in OPEN_GROUPS
    # a file of another name than its class is one of several configurations of it
    about = inspect.getdoc(registered(group, name)) if known and name == option else _comment(text)
    lines = [f"{group}={option}", *(f"    {line}".rstrip() for line in (about or "").splitlines())]
    if not known:
        return "\n".join(lines)
    own = own_keys(group, name)
    common = {f.name for f in fields(base_of(group, name))}
    keys = [f for f in fields(schema(group, name)) if f.name in own | common and f.name != "name"]
    return "\n".join([*lines, *(f"      {group}.{key.name}: {_type(key)}" for key in keys)])


def _comment(text: str) -> str:
    """The comment at the head of a file."""
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return "\n".join(line[1:].strip() for line in head if not line.startswith("# @package"))


def _type(key: Field) -> str:
    kind = key.type if isinstance(key.type, str) else getattr(key.type, "__name__", str(key.type))
    default = key.default_factory() if key.default_factory is not NO_DEFAULT else key.default
    return kind if default == "???" else f"{kind} = {'null' if default is None else default}"
