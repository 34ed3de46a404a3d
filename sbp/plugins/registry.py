"""Names for classes: how the `name` of a config group becomes an object."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, type[T]], Generic[T]):
    """The classes of one kind by name, filled where each class is defined.

    A registered class is built from config alone: its constructor's parameters are the keys of its option,
    their defaults the keys' defaults, and it raises ValueError("KEY=VALUE: must be ...") for a value out of
    range. What belongs to the data or to the run is handed to its methods.

    group: the config group, as in `selection=balanced`.

    >>> losses: Registry = Registry("loss")
    >>> @losses.register("l2")
    ... class L2: ...
    >>> losses["l2"].name
    'l2'
    """

    def __init__(self, group: str):
        self.group = group
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator: the class is known as `name` from now on, and has that as its attribute `name`.

        Raises ValueError if another class has the name.
        """

        def add(cls: type) -> type:
            known = self._classes.get(name)
            if known is not None and _full_name(known) != _full_name(cls):
                raise ValueError(
                    f"{self.group}={name}: {_full_name(cls)} needs another name: {_full_name(known)} has it"
                )
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return add

    def __getitem__(self, name: str) -> type[T]:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
