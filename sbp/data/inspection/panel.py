"""A healthy panel: texture, lighting, seams, rivets, dust. Pictures are (S, S) float64, grey 0 to 255."""

import cv2
import numpy as np

SUPERSAMPLING = 4


def smooth_noise(size: int, scale: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, smoothed over `scale` pixels in x and y. (S, S)"""
    noise = rng.standard_normal((size, size))
    kernel = tuple(max(1, 2 * round(s) + 1) for s in scale)
    smoothed = cv2.blur(cv2.blur(noise, kernel), kernel)
    return smoothed / max(smoothed.std(), 1e-9)


def blobs(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field with about `cells` bumps along a side, from -1 to 1. (S, S)"""
    coarse = rng.uniform(-1, 1, (cells + 2, cells + 2))
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(-1, 1)


def line_coverage(size: int, points: np.ndarray, width: float) -> np.ndarray:
    """Share of each pixel that a polyline (n, 2) of `width` pixels covers, in [0, 1]. (S, S)"""
    factor, bits = SUPERSAMPLING, 4
    canvas = np.zeros((size * factor, size * factor), dtype=np.uint8)
    fixed = np.round(points * factor * 2**bits).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, 255, max(1, round(width * factor)), cv2.LINE_8, bits)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) / 255.0


def area_coverage(size: int, points: np.ndarray) -> np.ndarray:
    """Share of each pixel that a polygon (n, 2) covers, in [0, 1]. (S, S)"""
    factor, bits = SUPERSAMPLING, 4
    canvas = np.zeros((size * factor, size * factor), dtype=np.uint8)
    fixed = np.round(points * factor * 2**bits).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_8, bits)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) / 255.0


def healthy_panel(size: int, rng: np.random.Generator) -> np.ndarray:
    """A panel without defects, before the camera's noise."""
    picture = rng.uniform(95, 165) + _texture(size, rng) + _lighting(size, rng)
    if rng.random() < 0.35:
        picture = _seam(picture, rng)
    if rng.random() < 0.15:
        picture = _rivets(picture, rng)
    if rng.random() < 0.25:
        picture = picture + _sheen(size, rng)
    return _dust(picture, rng)


def _texture(size: int, rng: np.random.Generator) -> np.ndarray:
    unit, kind = size / 64, rng.integers(3)
    if kind == 0:  # brushed: long fine grain along one direction
        grain = smooth_noise(size, (14 * unit, 0), rng) * rng.uniform(3, 7)
        return grain if rng.random() < 0.5 else grain.T
    if kind == 1:  # rolled: soft bands with a fine grain on them
        bands = smooth_noise(size, (24 * unit, 2 * unit), rng) * rng.uniform(2, 5)
        return bands + smooth_noise(size, (2 * unit, 0), rng) * 2.5
    return smooth_noise(size, (0.6 * unit, 0.6 * unit), rng) * rng.uniform(3, 6)  # sandblasted


def _lighting(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 40)
    slope = (np.cos(angle) * x + np.sin(angle) * y) * strength
    vignette = -rng.uniform(0, 40) * (x**2 + y**2)
    return slope + vignette + blobs(size, 2, rng) * rng.uniform(0, 6)


def _across(size: int, rng: np.random.Generator) -> np.ndarray:
    """A straight line from edge to edge, near horizontal or vertical: (2, 2) points x, y."""
    start, tilt = rng.uniform(0.1, 0.9) * size, rng.normal(0, 0.06) * size
    points = np.array([[-2.0, start], [size + 2.0, start + tilt]])
    return points if rng.random() < 0.5 else points[:, ::-1]


def _seam(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size, unit = len(picture), len(picture) / 64
    line, width = _across(size, rng), rng.uniform(0.8, 2.2) * unit
    depth = rng.uniform(15, 45) * (1 if rng.random() < 0.25 else -1)
    edge = line_coverage(size, line + width * 0.9, max(0.6 * unit, 0.5))
    return picture + depth * line_coverage(size, line, width) - 0.5 * depth * edge


def _rivets(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size, unit = len(picture), len(picture) / 64
    radius, first = rng.uniform(2.5, 4.5) * unit, rng.uniform(0.1, 0.9, 2) * size
    step = rng.uniform(14, 24) * unit * (np.array([1, 0]) if rng.random() < 0.5 else np.array([0, 1]))
    y, x = np.mgrid[0:size, 0:size]
    for number in range(-5, 6):
        centre = first + number * step
        distance = np.hypot(x - centre[0], y - centre[1]) / radius
        inside = np.clip((1.15 - distance) * radius, 0, 1)
        shade = 30 * ((centre[0] - x) + (centre[1] - y)) / (2 * radius)  # light from the upper left
        rim = -35 * np.exp(-(((distance - 1.05) * radius / unit) ** 2))
        picture = picture + inside * np.clip(shade, -30, 30) + rim
    return picture


def _sheen(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] / size
    angle, centre = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2)
    along = np.cos(angle) * (x - centre[0]) + np.sin(angle) * (y - centre[1])
    across = -np.sin(angle) * (x - centre[0]) + np.cos(angle) * (y - centre[1])
    return rng.uniform(15, 45) * np.exp(-((along / 0.5) ** 2) - (across / rng.uniform(0.1, 0.2)) ** 2)


def _dust(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size, unit = len(picture), len(picture) / 64
    for _ in range(rng.poisson(2.5)):
        start = rng.uniform(0, size, 2)
        end = start + rng.normal(0, 0.7 * unit, 2)
        speck = line_coverage(size, np.array([start, end]), rng.uniform(0.6, 1.4) * unit)
        picture = picture + speck * rng.choice([-1.0, -1.0, 1.0]) * rng.uniform(15, 45)
    return picture


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the camera makes of it: slight blur and noise, then (S, S, 1) uint8."""
    blurred = cv2.sepFilter2D(picture, cv2.CV_64F, *(np.array([0.12, 0.76, 0.12]),) * 2)
    noisy = blurred + rng.normal(0, rng.uniform(1.5, 3.5), picture.shape)
    return np.round(noisy).clip(0, 255).astype(np.uint8)[:, :, None]
