"""Random fields and anti-aliased shapes on an (S, S) grid, in float64 and numpy alone.

No library rasteriser or filter is used, so that no version, thread count or SIMD level of one matters. Points
are (x, y) in pixels; pixel centres lie on whole numbers.
"""

import numpy as np


def unit_of(picture: np.ndarray) -> float:
    """Pixels of this picture (S, S) per pixel of a 64-pixel image: all structures scale with it."""
    return len(picture) / 64


def blur(field: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Running mean over `width` elements along `axis`, which becomes `width - 1` shorter."""
    if width == 1:
        return field
    sums = np.cumsum(np.moveaxis(field, axis, 0), axis=0)
    means = np.concatenate([sums[width - 1 : width], sums[width:] - sums[:-width]]) / width
    return np.moveaxis(means, 0, axis)


def smooth_noise(size: int, length_x: float, length_y: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of variance 1 with grains of about `length_x` times `length_y` pixels. (S, S)"""
    widths = [max(1, round(length_y)), max(1, round(length_x))]
    field = rng.standard_normal([size + 2 * (width - 1) for width in widths])
    variance = 1.0
    for axis, width in enumerate(widths):
        field = blur(blur(field, width, axis), width, axis)
        variance *= (2 * width**2 + 1) / (3 * width**3)
    return field / np.sqrt(variance)


def blobs(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field with about `cells` bumps along a side, in -1..1. (S, S)"""
    knots = rng.uniform(-1, 1, (cells + 2, cells + 2))
    place = np.arange(size) * (cells / size) + rng.uniform(0, 1)
    left = place.astype(int)
    weight = place - left
    weight = weight * weight * (3 - 2 * weight)
    rows = knots[left] + weight[:, None] * (knots[left + 1] - knots[left])
    return rows[:, left] + weight * (rows[:, left + 1] - rows[:, left])


def shear(field: np.ndarray, slope: float) -> np.ndarray:
    """Tilt the horizontal structure of a periodic field (S, S) by `slope` pixels down per pixel right."""
    size = len(field)
    row = np.arange(size)[:, None] - slope * np.arange(size)
    upper = np.floor(row).astype(int)
    weight, column = row - upper, np.arange(size)
    return (1 - weight) * field[upper % size, column] + weight * field[(upper + 1) % size, column]


def arc(
    centre: np.ndarray, length: float, bend: float, rng: np.random.Generator, count: int = 24
) -> np.ndarray:
    """A curve of `length` pixels around `centre`, as (count, 2) points; `bend` is its sag over length."""
    angle = rng.uniform(0, 2 * np.pi)
    along = length * np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(-1, 1, count)[:, None]
    return centre + t / 2 * along + bend * (1 - t * t) * across


def stroke(size: int, points: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Share of each pixel that a polyline (n, 2) covers, 0..1; width: in pixels, one or (n,). (S, S)"""
    coverage = np.zeros((size, size))
    halves = np.broadcast_to(np.asarray(width, dtype=np.float64) / 2, len(points))
    starts, ends = points[:-1], points[1:]
    reach = np.maximum(halves[:-1], halves[1:])[:, None] + 1
    lows = np.floor(np.minimum(starts, ends) - reach).astype(int).clip(0, size).tolist()
    highs = np.ceil(np.maximum(starts, ends) + reach + 1).astype(int).clip(0, size).tolist()
    for k, ((left, top), (right, bottom)) in enumerate(zip(lows, highs, strict=True)):
        if left >= right or top >= bottom:
            continue
        x, y = np.arange(left, right) - starts[k, 0], np.arange(top, bottom)[:, None] - starts[k, 1]
        dx, dy = ends[k] - starts[k]
        t = (x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12)
        t = np.minimum(np.maximum(t, 0.0), 1.0)
        half = halves[k] + t * (halves[k + 1] - halves[k])
        covered = half + 0.5 - np.sqrt((x - t * dx) ** 2 + (y - t * dy) ** 2)
        window = coverage[top:bottom, left:right]
        np.maximum(window, np.minimum(np.minimum(covered, 1.0), 2 * half), out=window)
    return coverage


def depth_inside(size: int, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How many pixels a pixel lies inside a star-shaped zone, negative outside. (S, S)

    radii: (n,) pixels from the centre, at n angles from -pi in equal steps.
    """
    x, y = np.arange(size) - centre[0], np.arange(size)[:, None] - centre[1]
    turn = (np.arctan2(y, x) + np.pi) * (len(radii) / (2 * np.pi))
    edge = np.interp(turn, np.arange(len(radii) + 1), np.append(radii, radii[0]))
    return edge - np.sqrt(x * x + y * y)
