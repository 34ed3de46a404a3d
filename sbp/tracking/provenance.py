"""Where a result comes from: code, libraries, machine."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sbp.config.paths import clone_root

LIBRARIES = ("torch", "numpy", "segmentation-models-pytorch", "albumentations", "mlflow", "hydra-core", "sbp")


def _git(*arguments: str) -> str | None:
    root = clone_root()
    if root is None:
        return None
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def processor() -> str:
    """The processor's model name, or its architecture where the system does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def provenance() -> dict[str, str]:
    """Tags git.commit, git.dirty, hardware.*, version.*; what cannot be found out is "unknown"."""
    import torch

    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    tags = {
        "git.commit": commit or "unknown",
        "git.dirty": "unknown" if status is None else str(bool(status)).lower(),
        "hardware.cpu": processor(),
        "hardware.cores": str(os.cpu_count()),
        "hardware.gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "hardware.torch_threads": str(torch.get_num_threads()),
        "version.python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            tags[f"version.{library}"] = version(library)
        except PackageNotFoundError:
            tags[f"version.{library}"] = "unknown"
    return tags
