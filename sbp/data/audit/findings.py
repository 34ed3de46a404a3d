"""From facts to findings: what is wrong, what to look at, and what to do about it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sbp.data.audit.contradictions import (
    Contradiction,
    contradictions_of_alikes,
    contradictions_of_equals,
)
from sbp.data.audit.near import NearPair
from sbp.data.audit.reading import ImageFacts
from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS

Severity = Literal["wrong", "doubtful"]
Pair = tuple[int, int]


ALIKE = "photographs of the same (moved, turned, or otherwise exposed)"
HINT = "; if the sheet shows parts that only look alike, raise --alike"


@dataclass(frozen=True)
class Finding:
    """severity: `wrong` means that training would learn or measure something false. images, pairs: numbers of
    those concerned, for the sheet."""

    severity: Severity
    text: str
    details: Sequence[str] = ()
    images: Sequence[int] = ()
    pairs: Sequence[Pair] = field(default_factory=tuple)


def find(
    items: Sequence[Item],
    splits: Sequence[str],
    defects: Sequence[str],
    facts: Sequence[ImageFacts],
    near: Sequence[NearPair],
    skip_bad: bool = False,
) -> list[Finding]:
    """Everything that a check found, the worst first."""
    exact = _exact_pairs(facts)
    equal = set(exact)
    near_only = [pair for pair in near if pair.numbers not in equal]
    found = [
        *_unreadable(facts, skip_bad),
        *_crossing(items, splits, exact, "equal pixel by pixel (also turned or flipped)"),
        *_crossing(items, splits, [p.numbers for p in near_only], ALIKE, HINT),
        *_rare_defects(splits, defects, facts),
        *_contradictions_of_equals(items, defects, contradictions_of_equals(exact, facts)),
        *_contradictions_of_alikes(items, defects, contradictions_of_alikes(near_only, facts)),
        *_torn_groups(items, splits),
        *_empty_marks(items, facts),
        *_turned(items, facts),
        *_sizes(items, facts),
        *_repeated(items, splits, exact),
    ]
    return sorted(found, key=lambda finding: finding.severity != "wrong")


def _names(items: Sequence[Item], pairs: Sequence[Pair], splits: Sequence[str] | None = None) -> list[str]:
    def of(k: int) -> str:
        return f"{items[k].name} ({splits[k]})" if splits else items[k].name

    return [f"{of(i)} and {of(j)}" for i, j in pairs]


def _exact_pairs(facts: Sequence[ImageFacts]) -> list[Pair]:
    same: Mapping[str, list[int]] = defaultdict(list)
    for k, fact in enumerate(facts):
        if not fact.error:
            same[fact.exact].append(k)
    return [(members[0], other) for members in same.values() for other in members[1:]]


def _unreadable(facts: Sequence[ImageFacts], skip_bad: bool) -> list[Finding]:
    bad = [fact.error for fact in facts if fact.error]
    if not bad:
        return []
    fix = "they are skipped" if skip_bad else "mend them, or leave their images out with data.on_bad=skip"
    about = f"{len(bad)} images cannot be used: {fix}"
    return [Finding("doubtful" if skip_bad else "wrong", about, bad)]


def _crossing(items, splits, pairs: Sequence[Pair], what: str, hint: str = "") -> list[Finding]:
    crossing = [(i, j) for i, j in pairs if splits[i] != splits[j]]
    if not crossing:
        return []
    tested = sum("train" in (splits[i], splits[j]) for i, j in crossing)
    text = (
        f"{len(crossing)} pairs of images in different splits are {what}, {tested} of them with one in "
        "train: scores would flatter; keep what belongs together in one group (data.group, or a group column)"
        + hint
    )
    return [Finding("wrong", text, _names(items, crossing, splits), (), crossing)]


def _torn_groups(items, splits) -> list[Finding]:
    """Groups that splits of one's own tear apart."""
    held: Mapping[str, set[str]] = defaultdict(set)
    for item, split in zip(items, splits, strict=True):
        held[item.group].add(split)
    torn = [f"{group}: {', '.join(sorted(found))}" for group, found in held.items() if len(found) > 1]
    if not torn:
        return []
    text = f"{len(torn)} groups lie in more than one split: scores would flatter; give each group one split"
    return [Finding("wrong", text, torn)]


def _turned(items, facts) -> list[Finding]:
    turned = [k for k, fact in enumerate(facts) if fact.turned]
    if not turned:
        return []
    text = (
        f"{len(turned)} images say (EXIF) that they are to be shown turned; they are read as they are "
        "stored, which their masks must fit"
    )
    return [Finding("doubtful", text, [items[k].name for k in turned], turned)]


def _rare_defects(splits, defects: Sequence[str], facts) -> list[Finding]:
    found = []
    for d, defect in enumerate(defects):
        for split in SPLITS:
            held = [not f.error and f.pixels[d] > 0 for f, s in zip(facts, splits, strict=True) if s == split]
            if not sum(held):
                consequence = "it cannot be learnt" if split == "train" else "it cannot be measured"
                severity: Severity = "wrong" if split == "train" else "doubtful"
                found.append(Finding(severity, f"{defect}: no image in {split} holds it, {consequence}"))
    return found


def _contradictions_of_equals(items, defects, found: Sequence[Contradiction]) -> list[Finding]:
    """Equal images with different annotations teach and measure opposites."""
    if not found:
        return []
    pairs = _pairs(found)
    text = (
        f"{len(pairs)} pairs of equal images are annotated differently: one of each is wrong; mend its mask"
    )
    return [Finding("wrong", text, _lacking(items, defects, found), (), pairs)]


def _contradictions_of_alikes(items, defects, found: Sequence[Contradiction]) -> list[Finding]:
    """Photographs of one part may differ rightly: a defect can be visible under one light only."""
    if not found:
        return []
    pairs = _pairs(found)
    lacking = len({c.j for c in found})
    text = (
        f"{len(pairs)} pairs of photographs of the same are annotated differently: a mark may be missing in "
        f"{lacking} images, unless the defect cannot be seen under their light"
    )
    return [Finding("doubtful", text, _lacking(items, defects, found), (), pairs)]


def _pairs(found: Sequence[Contradiction]) -> list[Pair]:
    return list(dict.fromkeys((c.i, c.j) if (c.i < c.j) else (c.j, c.i) for c in found))


def _lacking(items, defects, found: Sequence[Contradiction]) -> list[str]:
    return [f"{items[c.i].name} marks {defects[c.defect]} where {items[c.j].name} does not" for c in found]


def _empty_marks(items, facts) -> list[Finding]:
    empty = [k for k, fact in enumerate(facts) if fact.empty_marks]
    if not empty:
        return []
    details = [f"{items[k].name}: {', '.join(facts[k].empty_marks)}" for k in empty]
    text = f"{len(empty)} images are filed as defective, but nothing is marked in them: they train as healthy"
    return [Finding("doubtful", text, details, empty)]


def _sizes(items, facts, factor: float = 4.0) -> list[Finding]:
    known = [k for k, fact in enumerate(facts) if not fact.error]
    sides = np.array([max(facts[k].height, facts[k].width) for k in known])
    if not len(sides):
        return []
    median = float(np.median(sides))
    odd = [k for k, side in zip(known, sides, strict=True) if not median / factor < side < median * factor]
    if not odd:
        return []
    details = [f"{items[k].name}: {facts[k].height} x {facts[k].width}" for k in odd]
    text = (
        f"{len(odd)} images are more than {factor:g} times larger or smaller than the median ({median:.0f})"
    )
    return [Finding("doubtful", text, details, odd)]


def _repeated(items, splits, exact: Sequence[Pair]) -> list[Finding]:
    inside = [(i, j) for i, j in exact if splits[i] == splits[j]]
    if not inside:
        return []
    text = f"{len(inside)} images are there twice within a split: they count double"
    return [Finding("doubtful", text, _names(items, inside), (), inside)]
