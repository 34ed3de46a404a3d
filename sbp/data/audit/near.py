"""Pairs of images that show the same: moved, turned, flipped, or under another exposure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from sbp.data.audit.fingerprints import BLOCK, Orientation, spectrum

NEIGHBOURS = 8
"""Candidates per image and orientation that are compared closely."""
SURE = 0.55
"""Correlation from which two images count as the same, where the set's images have nothing in common. On the
Magnetic Tile set, photographs of one tile reach 0.88 in the median (98 % of them more than 0.57) and those of
different tiles at most 0.51."""
MARGIN = 5.0
"""Where a set's images have much in common, as photographs of one product in one position do: how many robust
standard deviations above the correlation of random pairs (after Fisher's transformation) a pair must lie."""


@dataclass(frozen=True)
class View:
    """How one texture lies on another: in that orientation, its pixel (y + down, x + right) is the other's
    pixel (y, x)."""

    orientation: Orientation
    down: int
    right: int

    def onto(self, mask: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The mask, bool, in the other's frame of `shape`, and where that frame shows anything of it."""
        move, size = np.array([[1, 0, -self.right], [0, 1, -self.down]], np.float32), (shape[1], shape[0])
        turned = (self.orientation.apply(m) for m in (mask, np.ones_like(mask)))
        oriented = [np.ascontiguousarray(m, np.uint8) for m in turned]
        mask, seen = (cv2.warpAffine(m, move, size, flags=cv2.INTER_NEAREST) > 0 for m in oriented)
        return mask, seen


@dataclass(frozen=True)
class NearPair:
    """Images i and j by number. correlation: of their textures, at most 1. view: how j's lies on i's."""

    i: int
    j: int
    correlation: float
    view: View

    @property
    def numbers(self) -> tuple[int, int]:
        """The two, the smaller first."""
        return min(self.i, self.j), max(self.i, self.j)


def near_pairs(
    textures: Sequence[np.ndarray], threshold: float | None = None
) -> tuple[list[NearPair], float]:
    """All pairs found, most alike first, and the correlation from which a pair counts.

    textures: as `texture` gives them. threshold: that correlation; None: found from random pairs, few of
    which should show the same product in the same position. Candidates are neighbours by spectrum, which a
    shift does not change, in each orientation; they are then compared by the best normalised
    cross-correlation of the central part of one within the other.
    """
    if len(textures) < 2:
        return [], threshold or SURE
    if threshold is None:
        threshold = _threshold(textures, np.random.default_rng(0))
    best: dict[tuple[int, int], NearPair] = {}
    for i, j, transposed, flipped in _candidates(np.stack([spectrum(t) for t in textures])):
        pair = _compared(textures, i, j, transposed, flipped)
        known = best.get(pair.numbers)
        if pair.correlation >= threshold and (known is None or pair.correlation > known.correlation):
            best[pair.numbers] = pair
    return sorted(best.values(), key=lambda pair: -pair.correlation), threshold


def _best_match(a: np.ndarray, b: np.ndarray) -> tuple[float, int, int]:
    """Best normalised cross-correlation of the centre of `a` within `b`, textures (h, w), -1 to 1, and by how
    much `b` has to be moved up and left to lie on `a`."""
    height, width = (min(int(0.6 * m), n) for m, n in zip(a.shape, b.shape, strict=True))
    top, left = (a.shape[0] - height) // 2, (a.shape[1] - width) // 2
    part = np.ascontiguousarray(a[top : top + height, left : left + width])
    if part.std() < 1e-6 or b.std() < 1e-6:
        return 0.0, 0, 0  # nothing to recognise
    found = cv2.matchTemplate(np.ascontiguousarray(b), part, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(found.argmax()), found.shape)
    return float(found[y, x]), int(y) - top, int(x) - left


def _threshold(textures: Sequence[np.ndarray], rng: np.random.Generator, pairs: int = 600) -> float:
    draws = rng.integers(0, len(textures), (pairs, 2))
    values = [_best_match(textures[i], textures[j])[0] for i, j in draws if i != j]
    z = np.arctanh(np.clip(values, -0.999, 0.999)) if values else np.zeros(1)
    median = float(np.median(z))
    spread = 1.4826 * float(np.median(np.abs(z - median)))
    return float(np.clip(np.tanh(median + MARGIN * spread), SURE, 0.97))


def _candidates(spectra: np.ndarray) -> list[tuple[int, int, bool, bool]]:
    """Pairs i, j whose spectra are neighbours, with what was done to j's: transposed, flipped."""
    mean, spread = spectra.mean(axis=0), spectra.std(axis=0) + 1e-6
    fixed = _flat((spectra - mean) / spread)
    found: list[tuple[int, int, bool, bool]] = []
    for transposed, flipped in product((False, True), repeat=2):
        # the spectrum is the same after half a turn: a flip of either axis is the flip of the other
        turned = spectra.swapaxes(1, 2) if transposed else spectra
        turned = turned[:, ::-1] if flipped else turned
        other = _flat((turned - mean) / spread)
        for start in range(0, len(fixed), 1024):
            alike = fixed[start : start + 1024] @ other.T
            rows = np.arange(len(alike))
            alike[rows, start + rows] = -np.inf
            k = min(NEIGHBOURS, len(fixed) - 1)
            nearest = np.argpartition(-alike, k - 1, axis=1)[:, :k]
            found += [(start + int(r), int(j), transposed, flipped) for r in rows for j in nearest[r]]
    return found


def _flat(spectra: np.ndarray) -> np.ndarray:
    """(N, n) of length 1; half of the frequencies, as the others repeat them."""
    half = spectra[:, :, BLOCK:].reshape(len(spectra), -1)
    return half / (np.linalg.norm(half, axis=1, keepdims=True) + 1e-9)


def _compared(textures: Sequence[np.ndarray], i: int, j: int, transposed: bool, flipped: bool) -> NearPair:
    """The pair in the better of the two orientations that a spectrum cannot tell apart."""
    found = []
    for turned in (False, True):
        orientation = Orientation(transposed, flipped, turned)
        value, down, right = _best_match(textures[i], orientation.apply(textures[j]))
        found.append(NearPair(i, j, value, View(orientation, down, right)))
    return max(found, key=lambda pair: pair.correlation)
