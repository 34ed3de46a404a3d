"""Strata by label, and the weighted draw within one: what stratified selection is made of.

One ranking over all images drops a third of the defective ones, and as beta rises exactly the hardest healthy
ones. Here labels decide who competes with whom and how many of each are wanted, losses decide within a
stratum, and a uniform share keeps the draw diverse.
"""

import numpy as np

from sbp.selection.draws import CHUNK

SMALLEST = 1e-30
"""A weight that is not 0, of what is drawn when nothing else is left."""
HEALTHY = 0
"""The stratum of images without any defect."""


def strata_of(labels: np.ndarray, by: str) -> np.ndarray:
    """(n,) number of each image's stratum, HEALTHY for one without a defect.

    labels: (n, D) bool, which defects an image holds. by: `defect`, a stratum for each, an image with several
    in that of its rarest; `combination`, one for each set of defects that occurs; `label`, one for all.
    """
    defective = np.zeros(len(labels), dtype=bool)
    for d in range(labels.shape[1]):  # column by column: many times faster than any(axis=1)
        defective |= labels[:, d]
    if by == "label":
        return defective.astype(np.int32)
    result = np.full(len(labels), HEALTHY, dtype=np.int32)
    if not defective.any():
        return result
    held = labels[defective]
    if by == "combination":
        result[defective] = 1 + np.unique(held, axis=0, return_inverse=True)[1].reshape(-1)
    else:
        rarest_first = np.argsort(held.sum(axis=0), kind="stable")
        result[defective] = 1 + rarest_first[held[:, rarest_first].argmax(axis=1)]
    return result


def repeat_factors(labels: np.ndarray, share: np.ndarray, below: float) -> np.ndarray:
    """(n,) how often an epoch sees each image: max(1, sqrt(below / share)), the largest over the defects that
    it holds (Gupta et al., LVIS, arXiv:1908.03195, section 3.2, there t and f); 1 for a healthy image.

    labels: (n, D) bool. share: (D,) of all images that hold each defect, in [0, 1].
    """
    with np.errstate(divide="ignore"):
        factors = np.maximum(1.0, np.sqrt(below / np.asarray(share, dtype=np.float64)))
    return np.where(labels, factors, 1.0).max(axis=1, initial=1.0)


def drawn_repeats(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) int: each factor rounded down, or up with the probability of its fraction."""
    whole = np.floor(factors)
    return (whole + (rng.random(len(factors)) < factors - whole)).astype(np.int64)


def stratum_weights(
    scores: np.ndarray, beta: float, mix: float, suspect: np.ndarray | None = None
) -> np.ndarray:
    """(n,) float32 weights, above 0, that add up to 1, up to rounding: (1 - mix) q ** beta / sum + mix / n.

    q: percentile of the score (n,) within the stratum, ties sharing the mean of their ranks. An image that
    was never scored, NaN, weighs 1 / n: it is drawn as blindly as it is known. suspect: (n,) bool, scored
    images that weigh mix / n, whatever their score; None for no image.
    """
    n = len(scores)
    weights = np.full(n, 1 / max(1, n), dtype=np.float32)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    scored = ~np.isnan(scores)
    known = int(scored.sum())
    if beta == 0 or mix == 1 or known == 0:
        return weights
    power = _percentiles(scores if known == n else scores[scored]) ** np.float32(beta)
    if suspect is not None and not suspect[scored].all():
        power[suspect if known == n else suspect[scored]] = 0
    power *= np.float32((1 - mix) * known / n / power.sum(dtype=np.float64))
    power += np.float32(max(mix / n, SMALLEST))
    if known == n:
        return power
    weights[scored] = power
    return weights


def highest_stand_out(scores: np.ndarray, times: float) -> bool:
    """Whether the mean of the highest tenth of scores (n,) is at least so many times their median. NaN, never
    scored, does not count; False where nothing is scored."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return False
    top = max(1, len(known) // 10)
    ordered = np.partition(known, sorted({len(known) // 2, len(known) - top}))
    return bool(ordered[len(known) - top :].mean(dtype=np.float64) >= times * ordered[len(known) // 2])


def _percentiles(scores: np.ndarray) -> np.ndarray:
    """Average rank over n in (0, 1], of scores (n,) without NaN; half the memory of `percentiles`."""
    n = len(scores)
    order, ordered = _ordered(scores)
    ranks = np.arange(1, n + 1, dtype=np.float32)
    _share_ranks_of_ties(ranks, np.flatnonzero(ordered[1:] == ordered[:-1]))
    ranks /= np.float32(n)
    result = np.empty(n, dtype=np.float32)
    result[order] = ranks
    return result


def _share_ranks_of_ties(ranks: np.ndarray, equals_next: np.ndarray) -> None:
    """Give those that are equal the mean of their ranks (n,), in place. equals_next: ascending positions of
    what is equal to the one after it; usually few, so that the others cost nothing."""
    if not len(equals_next):
        return
    begins = np.append(True, np.diff(equals_next) > 1)
    ends = np.append(begins[1:], True)
    first, last = equals_next[begins], equals_next[ends] + 1
    mean = (first + last) / 2 + 1
    ranks[equals_next] = mean[np.cumsum(begins) - 1]
    ranks[last] = mean


def _ordered(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in ascending order of the scores (n,) float32, and the scores in that order."""
    if len(scores) >= 1 << 32 or scores.min() < 0:
        order = np.argsort(scores)
        return order, scores[order]
    # the bits of floats that are not negative sort as they do (-0 made 0 first): half the time of argsort
    keys = (scores + np.float32(0)).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(scores), dtype=np.uint32)
    keys.sort()
    order = keys.astype(np.uint32)  # the lower half
    keys >>= np.uint64(32)
    return order, keys.astype(np.uint32).view(np.float32)


def draw_weighted(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different positions of weights (n,), all above 0: one after the other, each time with a chance
    in proportion to the weights of those that are left; all of them if count is n or more.

    Drawn at once, as those with the smallest -ln(u) / weight (Efraimidis and Spirakis, Information Processing
    Letters 97, 2006).
    """
    n = len(weights)
    if count >= n:
        return np.arange(n)
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    keys = np.empty(n, dtype=np.float32)
    for start in range(0, n, CHUNK):  # temporaries stay small
        chunk = slice(start, start + CHUNK)
        keys[chunk] = rng.standard_exponential(len(weights[chunk]), dtype=np.float32) / weights[chunk]
    return np.argpartition(keys, count - 1)[:count]
