"""From facts to findings: what is an error, what to look at, and what to do about it."""

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sbp.data.audit.conflicts import AnnotationConflict, conflicts_of_duplicates, conflicts_of_near_duplicates
from sbp.data.audit.near import NearPair
from sbp.data.audit.reading import ImageFacts
from sbp.data.disk.listing import Item
from sbp.data.source import SPLITS

Severity = Literal["error", "warning"]
Pair = tuple[int, int]

EXACT = "equal pixel by pixel (also rotated or flipped)"
NEAR = "photographs of the same (moved, rotated, or otherwise exposed)"
EQUAL_DIFFER = "{pairs} pairs of equal images are annotated differently: correct the mask of one of each"
# Photographs of one part may differ rightly: a defect can be visible under one light only.
NEAR_DIFFER = (
    "{pairs} pairs of photographs of the same are annotated differently: an annotation may be missing in "
    "{lacking} images, unless the defect cannot be seen under their light"
)
HINT = "; if the sheet shows parts that only look alike, raise --alike"
CLEARER = 1.5
"""Times the contrast of annotated zones from which images fit their annotations better the other way."""
ODD_SIZE = 4
"""Times the median size from which an image's size is odd."""


@dataclass(frozen=True)
class Finding:
    """severity: `error` means that training would learn or measure something false. images, pairs: numbers of
    those concerned, for the sheet."""

    severity: Severity
    text: str
    details: Sequence[str] = ()
    images: Sequence[int] = ()
    pairs: Sequence[Pair] = ()


def find(
    items: Sequence[Item],
    splits: Sequence[str],
    defects: Sequence[str],
    facts: Sequence[ImageFacts],
    near: Sequence[NearPair],
    skip_bad: bool = False,
    exif: bool = False,
) -> list[Finding]:
    """Everything that a check found, errors first. exif: whether images were rotated as EXIF says."""
    exact = _duplicates(facts)
    near_only = [pair for pair in near if pair.numbers not in set(exact)]
    found = [
        *_unreadable(facts, skip_bad),
        *_leaks(items, splits, exact, EXACT),
        *_leaks(items, splits, [pair.numbers for pair in near_only], NEAR, HINT),
        *_missing_defects(splits, defects, facts),
        *_alike_names(defects),
        *_conflicts(items, defects, conflicts_of_duplicates(exact, facts), "error", EQUAL_DIFFER),
        *_conflicts(items, defects, conflicts_of_near_duplicates(near_only, facts), "warning", NEAR_DIFFER),
        *_split_groups(items, splits),
        *_unstable(items, facts),
        *_contradictions(facts),
        *_rotated(items, facts, exif),
        *_doubtful_images(items, facts),
        *_repeated(items, splits, exact),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _duplicates(facts: Sequence[ImageFacts]) -> list[Pair]:
    same: Mapping[str, list[int]] = defaultdict(list)
    for k, fact in enumerate(facts):
        if not fact.error:
            same[fact.exact].append(k)
    return [(members[0], other) for members in same.values() for other in members[1:]]


def _unreadable(facts: Sequence[ImageFacts], skip_bad: bool) -> Iterator[Finding]:
    if bad := [fact.error for fact in facts if fact.error]:
        fix = "they are skipped" if skip_bad else "mend them, or leave their images out with data.on_bad=skip"
        yield Finding("warning" if skip_bad else "error", f"{len(bad)} images cannot be used: {fix}", bad)


def _leaks(items, splits, pairs: Sequence[Pair], what: str, hint: str = "") -> Iterator[Finding]:
    if crossing := [(i, j) for i, j in pairs if splits[i] != splits[j]]:
        tested = sum("train" in (splits[i], splits[j]) for i, j in crossing)
        text = (
            f"{len(crossing)} pairs of images in different splits are {what}, {tested} of them with one in "
            "train: scores would flatter; keep what belongs together in one group (data.group, or a group "
            f"column){hint}"
        )
        names = [f"{items[i].name} ({splits[i]}) and {items[j].name} ({splits[j]})" for i, j in crossing]
        yield Finding("error", text, names, (), crossing)


def _missing_defects(splits, defects: Sequence[str], facts) -> Iterator[Finding]:
    for d, defect in enumerate(defects):
        held = {split for fact, split in zip(facts, splits, strict=True) if not fact.error and fact.pixels[d]}
        for split in SPLITS:
            if split not in held:
                severity: Severity = "error" if split == "train" else "warning"
                consequence = "learnt" if split == "train" else "measured"
                yield Finding(severity, f"{defect}: no image in {split} holds it, it cannot be {consequence}")


def _alike_names(defects: Sequence[str]) -> Iterator[Finding]:
    for k, defect in enumerate(defects):
        for other in difflib.get_close_matches(defect, defects[k + 1 :], cutoff=0.85):
            text = f"{defect} and {other} are called nearly the same: if one is a typing mistake, correct it"
            yield Finding("warning", text)
        for other in defects[k + 1 :]:
            if other.lower() == defect.lower():
                yield Finding(
                    "warning", f"{defect} and {other} differ in capitals alone: are they two defects?"
                )


def _conflicts(
    items, defects, found: Sequence[AnnotationConflict], severity: Severity, text: str
) -> Iterator[Finding]:
    if pairs := list(dict.fromkeys((min(c.i, c.j), max(c.i, c.j)) for c in found)):
        about = text.format(pairs=len(pairs), lacking=len({c.j for c in found}))
        names = [(defects[c.defect], items[c.i].name, items[c.j].name) for c in found]
        details = [f"{defect} is annotated in {first}, not in {second}" for defect, first, second in names]
        yield Finding(severity, about, details, (), pairs)


def _split_groups(items, splits) -> Iterator[Finding]:
    """Groups that official splits, or those of a split file, do not keep together."""
    held: Mapping[str, set[str]] = defaultdict(set)
    for item, split in zip(items, splits, strict=True):
        held[item.group].add(split)
    if several := [f"{group}: {', '.join(sorted(of))}" for group, of in held.items() if len(of) > 1]:
        text = f"{len(several)} groups lie in more than one split: scores would flatter; give each one split"
        yield Finding("error", text, several)


def _unstable(items, facts) -> Iterator[Finding]:
    if other := [k for k, fact in enumerate(facts) if fact.unstable]:
        text = (
            f"{len(other)} images give other pixels each time that they are read: save them in another format"
        )
        yield Finding("error", text, [items[k].name for k in other], other)


def _contradictions(facts) -> Iterator[Finding]:
    if wrong := [k for k, fact in enumerate(facts) if fact.contradictions]:
        text = (
            f"{len(wrong)} images have annotations whose box or area contradicts what they draw: perhaps "
            "they were converted wrongly"
        )
        yield Finding("warning", text, [line for k in wrong for line in facts[k].contradictions], wrong)


def _rotated(items, facts, exif: bool) -> Iterator[Finding]:
    """Images that say that they are to be shown rotated: do their annotations fit them as they are read?"""
    if not (rotated := [k for k, fact in enumerate(facts) if fact.exif != 1]):
        return
    names = [f"{items[k].name}: orientation {facts[k].exif}" for k in rotated]
    both = np.array([c for k in rotated if (c := facts[k].contrasts)]).reshape(-1, 2)
    as_read, other = np.median(both, axis=0) if len(both) else (0.0, 0.0)
    how, change = ("shown", "ignore") if exif else ("stored", "apply")
    about = (
        f"{len(rotated)} images say (EXIF) that they are to be shown rotated and are read as they are {how}"
    )
    if other > CLEARER * as_read:
        text = (
            f"{about}; {len(both)} annotated ones fit the other way better (contrast of the annotated zones "
            f"{as_read:.2f}, the other way {other:.2f}): set data.exif={change}"
        )
        yield Finding("error", text, names, rotated)
        return
    fits = (
        "no annotated one fits both ways"
        if not len(both)
        else (f"their annotations fit that way (contrast {as_read:.2f}, the other way {other:.2f})")
    )
    yield Finding("warning", f"{about}; {fits}", names, rotated)


def _doubtful_images(items, facts) -> Iterator[Finding]:
    if empty := [k for k, fact in enumerate(facts) if fact.unannotated]:
        text = (
            f"{len(empty)} images are labelled as defective, with an empty annotation: they train as healthy"
        )
        details = [f"{items[k].name}: {', '.join(facts[k].unannotated)}" for k in empty]
        yield Finding("warning", text, details, empty)
    sides = {k: max(fact.height, fact.width) for k, fact in enumerate(facts) if not fact.error}
    median = float(np.median(list(sides.values()))) if sides else 0.0
    if odd := [k for k, side in sides.items() if not median / ODD_SIZE < side < median * ODD_SIZE]:
        about = f"more than {ODD_SIZE} times larger or smaller than the median ({median:.0f})"
        details = [f"{items[k].name}: {facts[k].height} x {facts[k].width}" for k in odd]
        yield Finding("warning", f"{len(odd)} images are {about}", details, odd)


def _repeated(items, splits, exact: Sequence[Pair]) -> Iterator[Finding]:
    if inside := [(i, j) for i, j in exact if splits[i] == splits[j]]:
        names = [f"{items[i].name} and {items[j].name}" for i, j in inside]
        text = f"{len(inside)} images are there twice within a split: they count double"
        yield Finding("warning", text, names, (), inside)
