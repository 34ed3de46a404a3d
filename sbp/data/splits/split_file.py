"""Who is in which split: official splits, drawn ones by group, kept in a file so that they stay."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS
from sbp.data.splits.grouped import split_by_group
from sbp.errors import UserError
from sbp.utils.files import write_atomically

COLUMNS = ("name", "group", "split", "defects")
SEPARATOR = ";"
"""Between an image's defects, whose names may have spaces."""


def assign(
    items: Sequence[Item],
    labels: np.ndarray,
    fractions: Mapping[str, float],
    seed: int,
    known: Mapping[str, str] | None = None,
) -> list[str]:
    """The split of each item, (N,).

    labels: (N, D) bool. Official splits stay; where a set has no val split of its own, it is drawn from its
    train split. Everything else is drawn by group, stratified by defect. known: name -> split of an earlier
    assignment, which is kept: of what is new, images of a known group join it, and the other groups are
    drawn so that all together come near the shares. Raises UserError if a group is torn apart by `known`.
    """
    if any(item.split for item in items):
        return _official(items, labels, fractions, seed, known or {})
    return _drawn(items, labels, fractions, seed, known or {})


def _official(
    items, labels, fractions: Mapping[str, float], seed: int, known: Mapping[str, str]
) -> list[str]:
    splits = [item.split for item in items]
    for item in items:
        if item.split not in SPLITS:
            raise UserError(f"{item.name}: has split {item.split}: must be one of {', '.join(SPLITS)}")
    if "val" in splits:
        return splits
    train = [k for k, split in enumerate(splits) if split == "train"]
    val = fractions["val"] / (fractions["train"] + fractions["val"])
    shares = {"train": 1 - val, "val": val}
    kept = {name: split for name, split in known.items() if split in shares}
    drawn = _drawn([items[k] for k in train], labels[train], shares, seed, kept)
    for k, split in zip(train, drawn, strict=True):
        splits[k] = split
    return splits


def _drawn(items, labels, fractions, seed: int, known: Mapping[str, str]) -> list[str]:
    by_group: dict[str, str] = {}
    for item in items:
        if item.name in known and by_group.setdefault(item.group, known[item.name]) != known[item.name]:
            raise UserError(f"group {item.group}: the split file tears it apart, see {item.name}")
    splits = [by_group.get(item.group, "") for item in items]
    new = [k for k, split in enumerate(splits) if not split]
    placed = {name: [k for k, split in enumerate(splits) if split == name] for name in fractions}
    drawn = split_by_group(
        [items[k].group for k in new], labels[new], fractions, seed, {s: labels[k] for s, k in placed.items()}
    )
    for k, split in zip(new, drawn, strict=True):
        splits[k] = split
    return splits


def read_split_file(path: Path) -> dict[str, dict[str, str]]:
    """name -> row. Raises UserError for a file of another kind."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.split_file={path}: cannot be read ({error})") from None
    if tuple(columns) != COLUMNS:
        raise UserError(f"data.split_file={path}: must have the columns {', '.join(COLUMNS)}")
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        place = f"data.split_file={path}, line {number}"
        if row["split"] not in SPLITS:
            raise UserError(f"{place}: split={row['split']}: must be one of {', '.join(SPLITS)}")
        if row["name"] in found and found[row["name"]]["split"] != row["split"]:
            before = found[row["name"]]["split"]
            raise UserError(f"{place}: {row['name']} is in {row['split']}, above it was in {before}")
        found[row["name"]] = row
    return found


def write_split_file(
    path: Path,
    items: Sequence[Item],
    labels: np.ndarray,
    splits: Sequence[str],
    defects: Sequence[str],
    gone: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write it atomically: several jobs may start at once. gone: rows of images that are not there now; they
    keep their place, should they come back. Raises UserError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _as_text(items, labels, splits, defects, gone)
        write_atomically(path, content, shared=True)
    except OSError as error:
        raise UserError(f"data.split_file={path}: cannot be written ({error.strerror})") from None


def _as_text(items, labels, splits, defects, gone) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item, row, split in zip(items, labels, splits, strict=True):
        held = [defect for defect, there in zip(defects, row, strict=True) if there]
        writer.writerow([item.name, item.group, split, SEPARATOR.join(held)])
    writer.writerows([row[column] for column in COLUMNS] for row in gone)
    return text.getvalue()
