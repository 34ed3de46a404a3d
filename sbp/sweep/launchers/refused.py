"""What an engine has against a sweep before the first job: one line."""

import contextlib
import sys
from collections.abc import Iterator

from omegaconf import DictConfig


@contextlib.contextmanager
def refusal_as_line(config: DictConfig, *errors: type[Exception]) -> Iterator[None]:
    """Such an error inside ends the process with a line that names the launcher, and exit code 2.

    config: the sweep's.
    """
    try:
        yield
    except errors as error:
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        print(f"sbp: hydra/launcher={launcher}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
