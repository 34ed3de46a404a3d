"""Where the config files and the output folder are: in a clone, or in an installed wheel."""

import os
import uuid
from pathlib import Path

from omegaconf import OmegaConf

from sbp.errors import UserError
from sbp.plugins.discovery import plugin_folders

PACKAGE = Path(__file__).resolve().parent.parent


def clone_root() -> Path | None:
    """The clone that this package runs from, or None for an installed wheel."""
    root = PACKAGE.parent
    return root if (root / "conf" / "config.yaml").is_file() and (root / "pyproject.toml").is_file() else None


def conf_dir() -> str:
    """Absolute path of conf/: the clone's, else the copy inside the wheel."""
    return str((clone_root() or PACKAGE) / "conf")


def conf_dirs() -> list[Path]:
    """Every folder of config files: the project's own, then those of plugins."""
    return [Path(conf_dir()), *plugin_folders("conf")]


def experiments_dir() -> str:
    """Absolute path of the experiments' questions and claims: the clone's, else the copy in the wheel."""
    return str((clone_root() or PACKAGE) / "experiments")


def sections_dirs() -> list[Path]:
    """Every folder that holds folders of sections: ours, then those of plugins."""
    return [Path(experiments_dir()), *plugin_folders("experiments")]


def output_root() -> str:
    """Absolute path: SBP_OUTPUT if set, else outputs/ in the clone, else outputs/ in the current folder."""
    default = (clone_root() or Path.cwd()) / "outputs"
    return str(Path(os.environ.get("SBP_OUTPUT") or default).resolve())


def parallel_jobs() -> int:
    """How many jobs of a sweep run side by side: SBP_JOBS if set, else one per core that we may use."""
    given = os.environ.get("SBP_JOBS", "")
    if given and not (given.isdigit() and int(given) > 0):
        raise UserError(f"SBP_JOBS={given}: must be a whole number above 0")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(given) if given else cores


def register_resolvers() -> None:
    """Make `${sbp.output_root:}`, `${sbp.jobs:}` and `${sbp.unique:}` known to OmegaConf."""
    OmegaConf.register_new_resolver("sbp.output_root", output_root, replace=True)
    OmegaConf.register_new_resolver("sbp.jobs", parallel_jobs, replace=True)
    # two runs started in the same second must not share a folder
    OmegaConf.register_new_resolver("sbp.unique", lambda: uuid.uuid4().hex[:6], use_cache=True, replace=True)
