"""From scores to an epoch's images: percentile, keep probability, independent draws."""

import numpy as np

CHUNK = 1 << 20


def percentiles(scores: np.ndarray) -> np.ndarray:
    """Average rank over n: q_i = rank(score_i) / n in (0, 1], ties share the mean of their ranks.

    scores: (n,) floats; NaN marks an image that was never scored. Percentiles are taken among the scored
    images; a never-scored image gets 1, the highest, because nothing is known that would speak against
    training on it. Returns (n,) float32. The lowest of n scores has percentile 1 / n, the highest 1.
    """
    scores = np.asarray(scores, dtype=np.float32)
    q = np.ones(len(scores), dtype=np.float32)
    scored = ~np.isnan(scores)
    _, place, counts = np.unique(scores[scored], return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    q[scored] = (ranks.astype(np.float32) / np.float32(len(place)))[place]
    return q


def keep_probability(percentile: np.ndarray, beta: float) -> np.ndarray:
    """percentile ** beta (Jiang et al., arXiv:1910.00762, section 3). beta 0 keeps everything."""
    if not beta >= 0:
        raise ValueError(f"beta={beta}, must be at least 0")
    return np.power(percentile, np.float32(beta))


def draw(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions kept by one independent draw per entry, ascending, never empty.

    A draw that keeps nothing at all is repeated (an epoch is never empty). Should the probabilities be so
    small that repeating is hopeless, one entry is drawn in proportion to them.
    """
    if len(probability) == 0:
        raise ValueError("nothing to draw from: the list of candidates is empty")
    for _ in range(100):
        kept = np.flatnonzero(rng.random(len(probability), dtype=np.float32) < probability)
        if len(kept):
            return kept
    total = probability.sum(dtype=np.float64)
    weights = probability / total if total > 0 else None
    return np.array([rng.choice(len(probability), p=weights)])


def draw_by_score(scores: np.ndarray, beta: float, rng: np.random.Generator) -> np.ndarray:
    """Positions kept with probability percentiles(scores) ** beta; ascending, never empty.

    The same distribution as draw(keep_probability(percentiles(scores), beta), rng) without ranking
    every score: u < q ** beta says that the score's rank exceeds n * u ** (1 / beta), which a look into
    the sorted scores decides. Twice as fast for 10 million images, in half the memory.
    """
    if not beta >= 0:
        raise ValueError(f"beta={beta}, must be at least 0")
    if len(scores) == 0:
        raise ValueError("nothing to draw from: the list of candidates is empty")
    scores = np.asarray(scores, dtype=np.float32)
    ordered = np.sort(scores)  # NaN, never scored, goes to the end
    n = len(scores) - int(np.isnan(scores).sum())
    if beta == 0 or n == 0:
        return np.arange(len(scores))
    ordered = ordered[:n]
    for _ in range(100):
        parts = []
        for start in range(0, len(scores), CHUNK):  # temporaries stay small
            chunk = scores[start : start + CHUNK]
            parts.append(start + np.flatnonzero(_exceeds_drawn_rank(chunk, ordered, beta, rng)))
        kept = np.concatenate(parts)
        if len(kept):
            return kept
    return draw(keep_probability(percentiles(scores), beta), rng)


def _exceeds_drawn_rank(
    scores: np.ndarray, ordered: np.ndarray, beta: float, rng: np.random.Generator
) -> np.ndarray:
    n = len(ordered)
    threshold = n * rng.random(len(scores)) ** (1.0 / beta)
    at_threshold = ordered[np.minimum(threshold, n - 1).astype(np.int64)]
    keep = ~(scores < at_threshold)  # not >=, so that NaN, never scored, is kept
    tied = np.flatnonzero(scores == at_threshold)
    if len(tied):  # the mean rank of the equal scores decides
        first = np.searchsorted(ordered, scores[tied], side="left")
        last = np.searchsorted(ordered, scores[tied], side="right")
        rank = (first + 1 + last) / 2
        # the largest rank is kept for certain, also where u ** (1 / beta) is rounded up to 1
        keep[tied] = (rank > threshold[tied]) | (rank == n)
    return keep


def expected_kept_fraction(beta: float, n: int) -> float:
    """Mean of (rank / n) ** beta over ranks 1..n, about 1 / (1 + beta): what selection keeps of n scores."""
    ranks = np.arange(1, n + 1, dtype=np.float64) / n
    return float(np.mean(ranks**beta))


def beta_for_kept_fraction(fraction: float) -> float:
    """The beta whose expected kept fraction 1 / (1 + beta) is `fraction`, which lies in (0, 1]."""
    if not 0 < fraction <= 1:
        raise ValueError(f"kept fraction {fraction}, must lie in (0, 1]")
    return 1.0 / fraction - 1.0
