"""Everything that a run needs to resume, in one file that is whole or not there."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from sbp.seeding import generator_states
from sbp.utils.files import write_atomically

FORMAT = "sbp-state-2"
"""Changes whenever what a state holds does, so that one that other code has left is passed over."""
NAME = "state.pt"
PREVIOUS = "state.previous.pt"
NAMES = (NAME + ".new", NAME, PREVIOUS)  # newest first

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
