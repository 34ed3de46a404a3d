"""Which image is in which split: official splits stay, all others are drawn by group.

So what belongs together is in one place, and every defect in each of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS
from sbp.errors import UserError

# Greedy placement is quick and nearly always balanced; ties are broken at random, so that another
# attempt may do better. The first attempt that is this close to the asked shares is taken.
ATTEMPTS = 32
GOOD_ENOUGH = 0.01


def assign(
    items: Sequence[Item],
    labels: np.ndarray,
    fractions: Mapping[str, float],
    seed: int,
    known: Mapping[str, str],
) -> list[str]:
    """The split of each item, (N,).

    labels: (N, D) bool. Official splits stay; where a set has no val or test split of its own, it is drawn
    from its train split. Everything else is drawn by group, stratified by defect. known: name -> split of
    an earlier assignment, which is kept: of what is new, images of a known group join it, and the other
    groups are drawn so that all together come near the shares. Raises UserError if `known` has a group in
    more than one split.
    """
    splits = [item.split or "" for item in items]
    if not any(splits):
        return _drawn(items, labels, fractions, seed, known)
    for item in items:
        if item.split not in SPLITS:
            raise UserError(f"{item.name}: has split {item.split}: must be one of {', '.join(SPLITS)}")
    missing = [split for split in ("val", "test") if split not in splits]
    if not missing:
        return splits
    train = [k for k, split in enumerate(splits) if split == "train"]
    whole = fractions["train"] + sum(fractions[split] for split in missing)
    drawn_shares = {split: fractions[split] / whole for split in missing}
    shares = {"train": 1 - sum(drawn_shares.values()), **drawn_shares}
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
    placed = {name: labels[np.array(splits, dtype=str) == name] for name in fractions}
    drawn = split_by_group([items[k].group for k in new], labels[new], fractions, seed, placed)
    for k, split in zip(new, drawn, strict=True):
        splits[k] = split
    return splits


def split_by_group(
    groups: Sequence[str | int],
    labels: np.ndarray,
    fractions: Mapping[str, float],
    seed: int,
    placed: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
    """Assign every image to a split, whole groups at a time, stratified by defect.

    groups: (N,) what must not be torn apart, for example the photographed part. labels: (N, D) bool,
    which defects an image holds; images without any are balanced as a class of their own. fractions:
    share of the images for each split, at least 0, summing to 1; a split with share 0 stays empty.
    placed: the labels (n, D) of images that each split has already, of other groups; the shares are those
    of all together.

    Returns (N,) split names. No group is in two splits. A defect that is in at least as many groups as
    there are splits is in each split, unless defects that share groups rule that out; its share of
    images is as near to the asked one as the sizes of the groups allow. The same arguments give the same
    answer. Greedy iterative stratification, rarest defect first: Sechidis et al., "On the Stratification
    of Multi-Label Data", ECML PKDD 2011, here over groups instead of images.

    Raises ValueError for arguments that do not fit together.
    """
    labels = np.asarray(labels, dtype=bool)
    if labels.ndim != 2 or len(labels) != len(groups):
        raise ValueError(f"labels must be ({len(groups)}, D), one row per group entry, not {labels.shape}")
    if not fractions or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise ValueError(f"fractions must be at least 0 and sum to 1, not {dict(fractions)}")
    names = list(fractions)
    if not len(labels):
        return []
    shares = np.array([fractions[name] for name in names], dtype=float)
    numbers, counts = _group_counts(groups, labels)
    before = np.zeros((len(names), counts.shape[1]))
    for k, name in enumerate(names):
        if placed is not None and len(placed.get(name, ())):
            before[k] = _classes(np.asarray(placed[name], dtype=bool)).sum(axis=0)
    rng, attempts = np.random.default_rng(seed), []
    for _ in range(ATTEMPTS):
        placement = _placement(counts, before, shares, rng)
        attempts.append((_fault(counts, before, shares, placement), placement))
        if attempts[-1][0] <= (0, GOOD_ENOUGH):
            break
    _, placement = min(attempts, key=lambda attempt: attempt[0])
    return [names[placement[number]] for number in numbers]


def _group_counts(groups: Sequence[str | int], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group number of each image, (N,), and images per group and class, (G, D + 2).

    The two last classes are the images without a defect and all images.
    """
    order = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([order[group] for group in groups])
    classes = _classes(labels)
    counts = np.zeros((len(order), classes.shape[1]), dtype=np.int64)
    np.add.at(counts, numbers, classes)
    return numbers, counts


def _classes(labels: np.ndarray) -> np.ndarray:
    """(N, D + 2) bool: the defects, no defect, any image."""
    return np.column_stack([labels, ~labels.any(axis=1), np.ones(len(labels), dtype=bool)])


def _placement(
    counts: np.ndarray, before: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One greedy placement: split number of each group, (G,). before: (S, D + 2) placed earlier."""
    wanted = shares[:, None] * (counts.sum(axis=0) + before.sum(axis=0))
    placed = before.copy()
    placement = np.full(len(counts), -1)
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable"):
        waiting = rng.permutation(np.flatnonzero((placement < 0) & (counts[:, label] > 0)))
        # Large groups first: the small ones that come last even out what is left.
        waiting = waiting[np.argsort(-counts[waiting, label], kind="stable")]
        for position, group in enumerate(waiting):
            lacking = (shares > 0) & (placed[:, label] == 0)
            must_spread = lacking.sum() >= len(waiting) - position
            split = _neediest(wanted - placed, label, lacking if must_spread else shares > 0, rng)
            placement[group] = split
            placed[split] += counts[group]
    return placement


def _neediest(need: np.ndarray, label: int, allowed: np.ndarray, rng: np.random.Generator) -> int:
    """The allowed split that lacks most images of `label`, then most images at all, then any."""
    chance = rng.random(len(need))
    candidates = np.flatnonzero(allowed if allowed.any() else np.ones(len(need), dtype=bool))
    return int(max(candidates, key=lambda split: (need[split, label], need[split, -1], chance[split])))


def _fault(
    counts: np.ndarray, before: np.ndarray, shares: np.ndarray, placement: np.ndarray
) -> tuple[int, float]:
    """How many classes are missing in how many splits, and the largest deviation from the asked shares."""
    placed = before + np.stack([counts[placement == split].sum(axis=0) for split in range(len(shares))])
    totals, used = placed.sum(axis=0), shares > 0
    spreadable = (counts > 0).sum(axis=0) >= used.sum()
    missing = (placed[used][:, spreadable] == 0).sum()
    off = np.abs(placed / np.maximum(totals, 1) - shares[:, None])
    return int(missing), float(off[:, totals > 0].max())
