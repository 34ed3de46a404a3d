"""The quotes that Hydra wants around a value, and that the shell has taken away."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sbp.errors import UserError

QUOTES = "quotes that the shell leaves there, as 'KEY=\"TEXT\"'"


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
