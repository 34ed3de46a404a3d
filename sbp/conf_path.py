"""Where the config files and the output folder are: in a clone, or in an installed wheel."""

import os
import uuid
from pathlib import Path

from omegaconf import OmegaConf

PACKAGE = Path(__file__).resolve().parent


def clone_root() -> Path | None:
    """The clone that this package runs from, or None for an installed wheel."""
    root = PACKAGE.parent
    return root if (root / "conf" / "config.yaml").is_file() and (root / "pyproject.toml").is_file() else None


def conf_dir() -> str:
    """Absolute path of conf/: the clone's, else the copy inside the wheel."""
    root = clone_root()
    return str(root / "conf" if root else PACKAGE / "conf")


def output_root() -> str:
    """Absolute path: SBP_OUTPUT if set, else outputs/ in the clone, else outputs/ in the current folder."""
    default = (clone_root() or Path.cwd()) / "outputs"
    return str(Path(os.environ.get("SBP_OUTPUT") or default).resolve())


def register_resolvers() -> None:
    """Make `${sbp.output_root:}` and `${sbp.unique:}` known to OmegaConf."""
    OmegaConf.register_new_resolver("sbp.output_root", output_root, replace=True)
    # two runs started in the same second must not share a folder
    OmegaConf.register_new_resolver("sbp.unique", lambda: uuid.uuid4().hex[:6], use_cache=True, replace=True)
