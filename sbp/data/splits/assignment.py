"""Which image is in which split: official splits stay, all others are drawn by group."""

from collections.abc import Mapping, Sequence

import numpy as np

from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS
from sbp.data.splits.grouped import split_by_group
from sbp.errors import UserError


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
    drawn so that all together come near the shares. Raises UserError if `known` has a group in more than one
    split.
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
            raise UserError(
                f"group {item.group}: the split file has it in more than one split, see {item.name}"
            )
    splits = [by_group.get(item.group, "") for item in items]
    new = [k for k, split in enumerate(splits) if not split]
    placed = {name: [k for k, split in enumerate(splits) if split == name] for name in fractions}
    drawn = split_by_group(
        [items[k].group for k in new], labels[new], fractions, seed, {s: labels[k] for s, k in placed.items()}
    )
    for k, split in zip(new, drawn, strict=True):
        splits[k] = split
    return splits
