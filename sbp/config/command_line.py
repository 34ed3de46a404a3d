"""Words of the command line: the quotes that Hydra wants and the shell has taken away, and words that have
changed, with a line that names the new one."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sbp.errors import UserError

QUOTES = "quotes that the shell leaves there, as 'KEY=\"TEXT\"'"
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


def plain(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them: quoted, without what is no longer needed, and with data=auto where
    they name a folder of images and nothing says what it holds."""
    words = quoted(without_plus(arguments)[0])
    keys = {word.lstrip("+").partition("=")[0] for word in words}
    if "data.root" in keys and not keys & {"data", *OVERLAYS}:
        words.append("data=auto")
    return words


def quoted(arguments: Sequence[str]) -> list[str]:
    """The arguments, those in quotes whose text Hydra's grammar has no word for: data.root=/bilder/größe,
    run_name=second (new). Lists, several values and what has quotes are left as they are."""
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-") or re.search(r"""^[\[{]|["',]|\\$|\$\{""", value):
        return argument
    with_quotes = f'{key}="{value}"'
    return with_quotes if not _is_readable(argument) and _is_readable(with_quotes) else argument


def expect_readable(overrides: Sequence[str]) -> None:
    """Raise UserError if Hydra's grammar cannot read one of them."""
    for override in overrides:
        if _is_readable(override):
            continue
        if "=" not in override:
            raise UserError(f"{override}: must be KEY=VALUE, GROUP=OPTION or a flag as -m")
        raise UserError(
            f"{override}: Hydra cannot read this; a list goes in [...], a text with special characters in "
            f"{QUOTES}"
        )


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([override])
    except HydraException:
        return False
    return True


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
