"""Range checks of config values: each raises UserError with one line that names the key."""

import math
import posixpath
import re
from typing import Any

from sbp.errors import UserError


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise UserError(f"{key}={value}: must be {allowed}")


LARGEST = 2**31 - 1
"""Of whole numbers: beyond it, generators and arrays refuse them far from where they were given."""


def at_least(low: float, **keys: float | int | None) -> None:
    """Check that each given key (dots written as __) is a finite number of at least `low`, or None; a whole
    number of at most LARGEST."""
    for key, value in keys.items():
        ok = value is None or (math.isfinite(value) and value >= low)
        require(ok, key.replace("__", "."), value, f"at least {low:g}")
        small = not isinstance(value, int) or value <= LARGEST
        require(small, key.replace("__", "."), value, f"at most {LARGEST}")


def fraction(**keys: float | None) -> None:
    for key, value in keys.items():
        ok = value is None or 0 <= value <= 1
        require(ok, key.replace("__", "."), value, "between 0 and 1")


def one_of(key: str, value: Any, allowed: tuple[str, ...] | list[str]) -> None:
    require(value in allowed, key, value, "one of " + ", ".join(allowed))


def recordable(key: str, name: str) -> None:
    """Check that MLflow takes `name` as the key of a tag."""
    fits = re.fullmatch(r"[\w./ :-]{1,200}", name) and posixpath.normpath(name) == name
    shown = name if len(name) < 100 else name[:97] + "..."
    allowed = "a name of at most 200 letters, digits and _ - . : / or spaces, without //, ./ or ../"
    require(bool(fits) and not name.startswith(("/", ".")), key, shown, allowed)
