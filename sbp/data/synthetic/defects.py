"""What is wrong with a panel. Each draws on a picture (S, S) float64 and says where, in whole pixels.

And what an annotator makes of that: too large, and beside it.
"""

from collections.abc import Callable

import cv2
import numpy as np

from sbp.data.synthetic.fields import arc, blobs, depth_inside, stroke, unit_of

COVERED = 0.3
"""Share of a pixel from which it belongs to the clean mask."""

Drawn = tuple[np.ndarray, np.ndarray]
"""The picture with the defect (S, S) float64, and the defect's clean mask (S, S) uint8."""


def contrast_between(low: float, high: float, rng: np.random.Generator) -> float:
    """Grey levels between `low` (barely visible) and `high` (clear), log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def scratch(picture: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A thin, slightly curved line, darker or brighter, that tapers and cuts deeper here than there."""
    size, unit = len(picture), unit_of(picture)
    centre = rng.uniform(0.2, 0.8, 2) * size
    points = arc(centre, rng.uniform(14, 48) * unit, rng.normal(0, 0.1), rng)
    points = points + np.cumsum(rng.normal(0, 0.12 * unit, points.shape), axis=0)
    polarity = rng.choice([-1.0, 1.0])
    depth = contrast_between(22, 100, rng)
    width = max(rng.uniform(0.9, 2.0) * unit, 0.9)
    place = np.linspace(0, 1, len(points))
    heaviest = rng.uniform(0.2, 0.8)
    taper = 1 - (np.where(place < heaviest, heaviest - place, place - heaviest) / max(heaviest, 1 - heaviest))
    line = stroke(size, points, width * (0.5 + 0.5 * np.sqrt(taper)))
    groove = depth * (0.8 + 0.3 * blobs(size, 7, rng)) * line
    burr = np.zeros_like(line)
    if rng.random() < 0.4:  # the metal thrown up beside it
        burr = 0.45 * depth * stroke(size, points + rng.choice([-1, 1]) * 0.8 * width, 0.5 * width)
    trimmed = stroke(size, points[1:-1], np.maximum(width * (0.5 + 0.5 * np.sqrt(taper[1:-1])), 0.9))
    return picture + polarity * (groove - burr), (trimmed >= COVERED).astype(np.uint8)


def broken(picture: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A chipped zone with a jagged edge and facets that catch the light differently, and cracks out of it."""
    size, unit = len(picture), unit_of(picture)
    centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(4.0, 10.0) * unit
    angles = np.arange(24) * (2 * np.pi / 24)
    stretch = np.exp(rng.uniform(0, 0.4) * np.cos(2 * (angles - rng.uniform(0, np.pi))))  # like an ellipse's
    radii = radius * stretch * np.exp(rng.normal(0, 0.15, 24))
    inside = depth_inside(size, centre, radii) + 0.18 * radius * blobs(size, 12, rng)
    zone = (inside + 0.5).clip(0, 1)
    depth = contrast_between(14, 60, rng)
    sunk = -depth if rng.random() < 0.75 else 0.5 * depth  # fresh metal is bright
    facets = _facets(size, centre, radius, rng) * 0.7 * depth
    grit = rng.normal(0, 0.25 * depth, (size, size))
    x, y = np.arange(size) - centre[0], np.arange(size)[:, None] - centre[1]
    lit = ((x + y) / (1.4 * radius)).clip(-1, 1)  # the side that faces the light, lower right of a hollow
    rim = np.exp(-((inside / (0.8 * unit)) ** 2)) * lit * rng.uniform(0.3, 1.0) * depth
    picture = picture + zone * (sunk + facets + grit) + rim
    mask = zone
    for crack, width in _cracks(centre, radius, unit, rng):
        picture = picture - (0.8 * depth + 12) * stroke(size, crack, width)
        mask = np.maximum(mask, stroke(size, crack, np.maximum(width, 0.9)))
    return picture, (mask >= COVERED).astype(np.uint8)


def _facets(size: int, centre: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Flat pieces of fracture, each of one random brightness of about -1..1. (S, S)"""
    count = 9
    seeds, shades = centre + rng.normal(0, 0.6 * radius, (count, 2)), rng.normal(0, 0.6, count)
    x, y = np.arange(size), np.arange(size)[:, None]
    shade, nearest = np.zeros((size, size)), np.full((size, size), np.inf)
    for seed, value in zip(seeds, shades, strict=True):
        distance = (x - seed[0]) ** 2 + (y - seed[1]) ** 2
        closer = distance < nearest
        shade[closer] = value
        nearest = np.minimum(nearest, distance)
    return shade


def _cracks(
    centre: np.ndarray, radius: float, unit: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Jagged lines out of a damaged zone, some forked: (n, 2) points and (n,) widths that taper off."""
    cracks = []
    for _ in range(rng.integers(1, 5)):
        angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.3) * unit
        start = centre + 0.6 * radius * np.array([np.cos(angle), np.sin(angle)])
        trunk = _jagged(start, angle, rng.uniform(0.22, 0.42) * radius, int(rng.integers(3, 8)), rng)
        cracks.append((trunk, width * np.linspace(1, 0.4, len(trunk))))
        if rng.random() < 0.5 and len(trunk) > 4:
            turned = angle + rng.choice([-1, 1]) * rng.uniform(0.6, 1.1)
            twig = _jagged(trunk[len(trunk) // 2], turned, 0.25 * radius, 3, rng)
            cracks.append((twig, width * np.linspace(0.7, 0.4, len(twig))))
    return cracks


def _jagged(start: np.ndarray, angle: float, step: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """A line of `count` straight pieces of `step` pixels that turns at random. (count + 1, 2)"""
    turns = angle + np.where(np.arange(count) % 2, 1, -1) * rng.uniform(0, 0.7, count)
    steps = step * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def coarsen(mask: np.ndarray, coarseness: float, rng: np.random.Generator) -> np.ndarray:
    """A clean mask (S, S) uint8 as annotated: dilated by a disc and moved.

    The disc's radius is drawn from 0.3 to 1 times `coarseness` pixels, the offset along each axis from -2/3
    to 2/3 of it, in whole pixels. It is not moved where it would then miss more than half of the defect.
    """
    radius = rng.uniform(0.3, 1.0) * coarseness
    right, down = (round(offset) for offset in (rng.uniform(-1, 1, 2) * coarseness / 1.5).tolist())
    reach = int(radius)
    x = np.arange(-reach, reach + 1)
    disc = (x * x + x[:, None] ** 2 <= radius * radius).astype(np.uint8)
    thick = cv2.dilate(mask, disc)  # exact: a maximum of integers
    (height, width), margin = mask.shape, max(abs(right), abs(down))
    place = slice(margin - down, margin - down + height), slice(margin - right, margin - right + width)
    moved = np.pad(thick, margin)[place]
    return moved if 2 * (moved & mask).sum() >= mask.sum() else thick


DRAW: dict[str, Callable[[np.ndarray, np.random.Generator], Drawn]] = {"scratch": scratch, "broken": broken}
