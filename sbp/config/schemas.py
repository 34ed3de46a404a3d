"""The open groups: their options are registered classes, their keys the parameters of the constructors.

An option's schema is a dataclass derived from its class: the group's own keys first, then a field for each
further parameter, with its type and default. So a class and a YAML file that names it are all that a new
option takes; ranges are checked by the constructor, which `make` calls.
"""

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from typing import Any, get_type_hints

from omegaconf import MISSING

from sbp.config import groups as g
from sbp.data import classes, synthetic  # noqa: F401  register sets that are no layouts
from sbp.data.layouts import LAYOUTS
from sbp.data.source import SOURCES
from sbp.engine import classifiers  # noqa: F401  registers them
from sbp.engine.losses import LOSSES
from sbp.engine.models import MODELS
from sbp.engine.optimizers import OPTIMIZERS
from sbp.errors import UserError
from sbp.plugins.registry import Registry
from sbp.selection import jiang  # noqa: F401  registers it
from sbp.selection.aggregation import AGGREGATIONS
from sbp.selection.guard import GUARDS
from sbp.selection.policy import POLICIES
from sbp.selection.staleness import STALENESSES


@dataclass(frozen=True)
class Kind:
    """Classes of one registry, and the dataclass of the keys that all their options have."""

    registry: Registry
    base: type


OPEN_GROUPS: dict[str, tuple[Kind, ...]] = {
    "data": (Kind(LAYOUTS, g.DiskData), Kind(SOURCES, g.DataConfig)),
    "selection": (Kind(POLICIES, g.SelectionConfig),),
    "aggregation": (Kind(AGGREGATIONS, g.OptionConfig),),
    "guard": (Kind(GUARDS, g.OptionConfig),),
    "staleness": (Kind(STALENESSES, g.OptionConfig),),
    "loss": (Kind(LOSSES, g.OptionConfig),),
    "optimizer": (Kind(OPTIMIZERS, g.OptimizerConfig),),
    "model": (Kind(MODELS, g.OptionConfig),),
}
"""By config group. A group may hold classes of several registries."""


def names(group: str) -> list[str]:
    """What `name` may be in a group, in the order of registration."""
    return [name for kind in OPEN_GROUPS[group] for name in kind.registry]


def registered(group: str, name: str) -> type:
    """The class called `name`. Raises UserError, naming what is there."""
    for kind in OPEN_GROUPS[group]:
        if name in kind.registry:
            return kind.registry[name]
    raise UserError(f"{group}.name={name}: must be one of {', '.join(names(group))}")


@cache
def schema(group: str, name: str) -> type:
    """The dataclass of an option's keys. Raises UserError if the class cannot be configured."""
    cls, base = registered(group, name), base_of(group, name)
    known = {f.name for f in fields(base)}
    own = [entry for entry in _parameters(group, cls) if entry[0] not in known]
    title = f"{group}_{name}".title().replace("_", "")
    namespace = {"__doc__": inspect.getdoc(cls), "__module__": __name__}
    made = make_dataclass(
        title, [("name", str, field(default=name)), *own], bases=(base,), namespace=namespace
    )
    globals()[title] = made  # found there when a job in another process unpickles a config
    return made


def base_of(group: str, name: str) -> type:
    """The dataclass of the keys that an option has in common with all others of its registry."""
    return next(kind.base for kind in OPEN_GROUPS[group] if name in kind.registry)


def own_keys(group: str, name: str) -> set[str]:
    """The keys that an option has beside those."""
    return {f.name for f in fields(schema(group, name))} - {f.name for f in fields(base_of(group, name))}


def __getattr__(title: str) -> Any:
    for group, name in all_options() if title[0].isupper() else ():
        if schema(group, name).__name__ == title:
            return schema(group, name)
    raise AttributeError(f"module {__name__!r} has no attribute {title!r}")


def all_options() -> Iterator[tuple[str, str]]:
    """Every registered class, as group and name; those of plugins too."""
    from sbp.plugins.discovery import load_plugins

    load_plugins()
    for group in OPEN_GROUPS:
        for name in names(group):
            yield group, name


def _parameters(group: str, cls: type) -> Iterator[tuple[str, Any, Field]]:
    """Name, type and default of each parameter of the constructor."""
    try:
        types = get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError as error:
        raise UserError(
            f"{group}: {cls.__name__}: the types of its parameters are not known: {error}"
        ) from None
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UserError(f"{group}: {cls.__name__}: its constructor must name each key, not take *{name}")
        yield name, types.get(name, Any), _default(parameter.default, cls, name)


def _default(value: Any, cls: type, name: str) -> Any:
    if is_dataclass(cls):
        factory = next(f.default_factory for f in fields(cls) if f.name == name)
        if factory is not dataclasses.MISSING:
            return field(default_factory=factory)
    if value is inspect.Parameter.empty:
        return field(default=MISSING)
    if isinstance(value, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(value))
    return field(default=value)


def make(group: str, config: Any) -> Any:
    """The object that an option's config describes. Raises UserError if the constructor refuses a value."""
    cls = registered(group, config.name)
    arguments = {name: getattr(config, name) for name in inspect.signature(cls).parameters}
    with in_group(group):
        return cls(**arguments)


@contextlib.contextmanager
def in_group(group: str) -> Iterator[None]:
    """Put the group in front of what a class says of its own keys: its ValueError becomes a UserError."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{group}.{error}") from None
