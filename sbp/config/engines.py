"""What launchers need that is not installed with sbp: an extra of the package."""

from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.override_parser.types import Override

from sbp.errors import UserError

NEEDS = {
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "slurm_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray_cluster": ("ray", "ray"),
}
"""Of each launcher, the module that it needs and the extra that brings it."""


def expect_installed(overrides: Sequence[Override]) -> None:
    """Raise UserError for a launcher whose extra is not installed."""
    for override in overrides:
        if override.key_or_group != "hydra/launcher" or override.is_sweep_override():
            continue
        module, extra = NEEDS.get(str(override.value()), ("sbp", ""))
        if not find_spec(module):
            raise UserError(f"{override.input_line}: needs a package: pip install 'sbp[{extra}]'")
