"""What a run needs to resume: its state, whole or not there, where it lies, and room for it on the disk."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sbp.errors import UserError
from sbp.seeding import generator_states
from sbp.utils.files import is_held, write_atomically

FORMAT = "sbp-state-5"
"""Changes whenever what a state holds does, so that one that other code has left is passed over."""
NAME = "state.pt"
PREVIOUS = "state.previous.pt"
NAMES = (NAME + ".new", NAME, PREVIOUS)  # newest first
STATES = 3
"""Copies of model and optimizer on the disk at most, beside the two checkpoints: two states and a new one."""
SMALL_FILES = 50e6
"""Bytes for histograms, figures and tables of a run; measured: 2 to 20 MB."""

log = logging.getLogger("sbp")


def save_state(folder: Path, identity: str, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) and the random generators to `folder`.

    The state before it is kept beside it. identity: what must match when it is read back. Raises UserError
    where the disk is full; what was there stays.
    """
    payload = {"format": FORMAT, "identity": identity, "random": generator_states(), **state}
    fresh = folder / (NAME + ".new")
    write_atomically(fresh, lambda file: torch.save(payload, file))
    if (folder / NAME).exists():
        os.replace(folder / NAME, folder / PREVIOUS)
    os.replace(fresh, folder / NAME)


def load_state(folder: Path, identity: str) -> dict[str, Any] | None:
    """The newest state in `folder` that is whole and belongs to `identity`, None if there is none.

    A file that is cut off, changed or foreign is passed over with a warning; nothing in it is executed.
    """
    for name in NAMES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            if damaged := zipfile.ZipFile(path).testzip():
                raise ValueError(f"{damaged} is damaged")
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or state.get("format") != FORMAT:
                raise ValueError(f"is no state of a run ({FORMAT})")
            if state["identity"] != identity:
                raise ValueError("belongs to another config, other code or other images")
        except Exception as error:
            log.warning("%s: cannot be resumed from: %s", path, " ".join(str(error).split())[:120])
            continue
        return state
    return None


def has_state(folder: Path) -> bool:
    """Whether there is a state in the folder, whole or not."""
    return any((folder / name).exists() for name in NAMES)


def remove_state(folder: Path) -> None:
    """Forget the state, when a run is complete."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def _marks(output_root: str | Path) -> Path:
    return Path(output_root) / "unfinished"


@contextlib.contextmanager
def unfinished(output_root: str | Path, identity: str, folder: Path) -> Iterator[None]:
    """Mark the run in `folder` as begun; the mark goes when the block ends well."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    mark = _marks(output_root) / f"{identity}-{place}.json"
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, json.dumps({"run_dir": str(folder.resolve())}))
    yield
    mark.unlink(missing_ok=True)


def interrupted_runs(output_root: str | Path, identity: str) -> Iterator[Path]:
    """Folders of interrupted runs with this fingerprint that no process works on, newest first. Marks of runs
    that did not come far enough to be resumed are removed."""
    marks = _marks(output_root).glob(f"{identity}-*.json")
    for mark in sorted(marks, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            folder = Path(json.loads(mark.read_text())["run_dir"])
            if is_held(folder):
                continue
            if has_state(folder):
                yield folder
            else:
                mark.unlink()


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
