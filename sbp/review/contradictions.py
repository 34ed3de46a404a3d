"""Photographs of the same part of which one is annotated and the other is not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sbp.data.audit import near_pairs, read_all
from sbp.data.audit.conflicts import conflicts_of_near_duplicates
from sbp.data.disk.source import ListedSource
from sbp.review.suspects import CONTRADICTION, MISSING, Suspect

HIGHEST = np.ndarray
"""(N, D) the largest probability of each defect in each image."""


def contradictions(
    source: ListedSource, highest: HIGHEST, progress: Callable[[int, int], None]
) -> list[Suspect]:
    """Training images that show what another one shows, without a defect that is annotated there.

    highest: (N, D) in [0, 1], the largest probability of each defect in each training image. The score is
    that of the image without the annotation times how alike the two are (correlation, see near_pairs): two
    photographs of a part differ where a defect is new, or does not show in this light. The box is the whole
    image as the model sees it. Every training image is read.
    """
    items = source.members["train"]
    facts = read_all(items, source.defects, source.reading, progress)
    known = [k for k, fact in enumerate(facts) if fact.texture is not None]
    pairs, _ = near_pairs([t for f in facts if (t := f.texture) is not None])
    pairs = [replace(pair, i=known[pair.i], j=known[pair.j]) for pair in pairs]
    alike = {pair.numbers: pair.correlation for pair in pairs}
    height, width = source.resizer.height, source.resizer.width
    found = []
    for shown, lacking, defect in conflicts_of_near_duplicates(pairs, facts):
        score = alike[min(shown, lacking), max(shown, lacking)] * float(highest[lacking, defect])
        box = (0, 0, width, height)
        found.append(Suspect(lacking, defect, CONTRADICTION, score, box, height * width, other=shown))
    best: dict[tuple[int, int], Suspect] = {}
    for suspect in found:  # an image may contradict several
        known_one = best.get((suspect.image, suspect.defect))
        if known_one is None or suspect.score > known_one.score:
            best[suspect.image, suspect.defect] = suspect
    return list(best.values())


def merged(suspects: Sequence[Suspect], contradicting: Sequence[Suspect]) -> list[Suspect]:
    """All suspects, the most suspicious first. A missing annotation that another photograph has is told as a
    contradiction, at its own place, with the higher score of the two."""
    left = {(s.image, s.defect): s for s in contradicting}
    result = []
    for suspect in suspects:
        other = left.pop((suspect.image, suspect.defect), None) if suspect.kind == MISSING else None
        if other is not None:
            score = max(suspect.score, other.score)
            suspect = replace(suspect, kind=CONTRADICTION, score=score, other=other.other)
        result.append(suspect)
    return sorted([*result, *left.values()], key=lambda s: (-s.score, s.image, s.box))
