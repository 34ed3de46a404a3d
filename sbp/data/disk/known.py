"""Which defects an image was annotated for, where that is not all of them.

Images that come in for a new defect are often annotated for that one alone. Where they say nothing of the
others, "nothing" must not be learnt: a defect that an image was not annotated for is VOID in it, and counts
neither for loss, score nor metrics.
"""

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from sbp.data.source import VOID
from sbp.data.splits.split_file import SEPARATOR
from sbp.errors import UserError

COLUMNS = ("name", "defects")
Known = Mapping[str, frozenset[str]]
"""Of an image by name, the defects that it was annotated for. Images that are not in it: for all."""


def read_known(path: Path, defects: Sequence[str], images: Collection[str]) -> Known:
    """Read a table with the columns name and defects, those of an image separated by `;`.

    Raises UserError for a file that cannot be read, and for an image or defect that the set does not have.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"data.known={path}: cannot be read ({reason})") from None
    if columns != COLUMNS:
        raise UserError(f"data.known={path}: must have the columns {', '.join(COLUMNS)}")
    found: dict[str, frozenset[str]] = {}
    for number, row in enumerate(rows, 2):
        place = f"data.known={path}, line {number}"
        if row["name"] not in images:
            raise UserError(f"{place}: {row['name']}: no image of the set is called so (as in split.csv)")
        known = frozenset((row["defects"] or "").split(SEPARATOR)) - {""}
        if unknown := known - set(defects):
            raise UserError(f"{place}: {sorted(unknown)[0]}: must be one of {', '.join(defects)}")
        found[row["name"]] = known
    return found


def unknown_as_void(masks: np.ndarray, defects: Sequence[str], known: frozenset[str]) -> np.ndarray:
    """masks (H, W, D) uint8 with VOID instead of 0 for the defects that are not known; what is annotated
    nevertheless stays."""
    result = masks.copy()
    for d, defect in enumerate(defects):
        if defect not in known:
            channel = result[:, :, d]
            channel[channel == 0] = VOID
    return result
