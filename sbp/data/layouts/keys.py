"""Keys that several layouts have: what they mean, and which values they take."""

import re

from sbp.errors import UserError
from sbp.plugins.checks import require

THRESHOLD = 127
"""Grey value above which a pixel of a mask counts as annotated."""


def check_threshold(value: int) -> None:
    """Raise ValueError for a threshold that no pixel, or every pixel, of an 8-bit mask could exceed."""
    require(0 <= value <= 254, "threshold", value, "between 0 and 254")


def check_group(pattern: str | None) -> None:
    """Raise ValueError for a group that is no regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"group={pattern}: is no regular expression ({error})") from None


def group_of(stem: str, pattern: str | None) -> str:
    """The group of an image by its stem: what the pattern matches, or its first group if it has one; the
    stem itself without a pattern. Raises UserError if the pattern is not found."""
    if pattern is None:
        return stem
    match = re.search(pattern, stem)
    if match is None:
        raise UserError(f"data.group={pattern}: is not found in the name {stem}")
    return match[1] if match.groups() else match[0]
