"""Whether a run's files fit on the disk, before it trains."""

import logging
import shutil
from pathlib import Path

from torch import nn

from sbp.errors import UserError

STATES = 3
"""Copies of model and optimizer on the disk at most, beside the two checkpoints: two states and a new one."""
SMALL_FILES = 50e6
"""Bytes for histograms, figures and tables of a run; measured: 2 to 20 MB."""

log = logging.getLogger("sbp")


def check_disk_space(folder: Path, model: nn.Module) -> None:
    """Log how much a run's checkpoints and states need; raise UserError if the disk has less."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    needed = 2 * 2 * weights + STATES * 3 * weights + SMALL_FILES  # Adam keeps two values per weight
    free = shutil.disk_usage(folder).free
    log.info("writes up to %.0f MB to %s", needed / 1e6, folder)
    if needed > free:
        raise UserError(
            f"{folder}: a run needs up to {needed / 1e6:.0f} MB there, {free / 1e6:.0f} MB are free; choose "
            "another place with SBP_OUTPUT"
        )
