"""Words of the command line that have changed: what still works, with a line that says so, and what does not,
with a line that names the new word."""

import re
from collections.abc import Sequence

from sbp.errors import UserError

OVERLAYS = ("experiment", "arm")
"""Groups whose option was added with a + before they were part of the defaults."""

VALUES = {
    ("repeat", "true"): "if_exists=retrain",
    ("repeat", "false"): "if_exists=reuse",
    ("resume", "true"): "if_exists=resume",
    ("resume", "false"): "if_exists=reuse, or if_exists=retrain",
}
KEYS = {
    "repeat": "if_exists",
    "resume": "if_exists",
    "alone": "exclusive",
    "scale.photo_size": "scale.real_image_size",
    "scale.photo_compute": "scale.real_compute",
}


def without_plus(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments, +experiment= and +arm= without their +, and a line for each of them."""
    pattern = re.compile(rf"\+({'|'.join(OVERLAYS)})=")
    plain = [argument[1:] if pattern.match(argument) else argument for argument in arguments]
    notes = [
        f"{old}: the + is no longer needed" for old, new in zip(arguments, plain, strict=True) if old != new
    ]
    return plain, notes


def expect_present_names(overrides: Sequence[str]) -> None:
    """Raise UserError for a key that has another name now."""
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key not in KEYS:
            continue
        new = (
            VALUES.get((key, value.lower())) or f"{KEYS[key]}={value if KEYS[key] != 'if_exists' else '...'}"
        )
        raise UserError(f"{override}: is called {new} now")
