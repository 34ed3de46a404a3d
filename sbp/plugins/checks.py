"""Range checks, in one place: each raises ValueError with one line that names the key and what is allowed.

A constructor names its own parameter (`k`); the config adds the group in front of it (`aggregation.k`).
"""

import math
from collections.abc import Sequence
from typing import Any

LARGEST = 2**31 - 1
"""Of whole numbers: beyond it, generators and arrays refuse them far from where they were given."""


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    """Raise ValueError("KEY=VALUE: must be ALLOWED") unless the condition holds."""
    if not condition:
        raise ValueError(f"{key}={value}: must be {allowed}")


def at_least(low: float, **keys: float | int | None) -> None:
    """Check that each given key (dots written as __) is a finite number of at least `low`, or None; a whole
    number of at most LARGEST."""
    for key, value in keys.items():
        ok = value is None or (math.isfinite(value) and value >= low)
        require(ok, key.replace("__", "."), value, f"at least {low:g}")
        small = not isinstance(value, int) or value <= LARGEST
        require(small, key.replace("__", "."), value, f"at most {LARGEST}")


def above(low: float, **keys: float | None) -> None:
    """Check that each given key is a finite number above `low`, or None."""
    for key, value in keys.items():
        ok = value is None or (math.isfinite(value) and value > low)
        require(ok, key.replace("__", "."), value, f"above {low:g}")


def fraction(**keys: float | None) -> None:
    """Check that each given key lies in [0, 1], or is None."""
    for key, value in keys.items():
        require(value is None or 0 <= value <= 1, key.replace("__", "."), value, "between 0 and 1")


def one_of(key: str, value: Any, allowed: Sequence[str]) -> None:
    """Check that the value is one of those allowed."""
    require(value in allowed, key, value, "one of " + ", ".join(allowed))
