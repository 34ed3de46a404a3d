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
    known: Mapping[str, str],
) -> list[str]:
    """The split of each item, (N,).

    labels: (N, D) bool. Official splits stay; where a set has no val split of its own, it is drawn from its
    train split. Everything else is drawn by group, stratified by defect. known: name -> split of an earlier
    assignment, which is kept: of what is new, images of a known group join it, and the other groups are
    drawn so that all together come near the shares. Raises UserError if `known` has a group in more than one
    split.
    """
    splits = [item.split or "" for item in items]
    if not any(splits):
        return _drawn(items, labels, fractions, seed, known)
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
            about = f"the split file has it in more than one split, see {item.name}"
            raise UserError(f"group {item.group}: {about}")
    splits = [by_group.get(item.group, "") for item in items]
    new = [k for k, split in enumerate(splits) if not split]
    placed = {name: [k for k, split in enumerate(splits) if split == name] for name in fractions}
    groups, before = [items[k].group for k in new], {s: labels[k] for s, k in placed.items()}
    drawn = split_by_group(groups, labels[new], fractions, seed, before)
    for k, split in zip(new, drawn, strict=True):
        splits[k] = split
    return splits
