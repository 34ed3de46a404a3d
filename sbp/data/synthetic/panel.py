"""A healthy panel: texture, lighting, seams, rivets, dust. Pictures are (S, S) float64, grey 0 to 255."""

import numpy as np

from sbp.data.synthetic.fields import blobs, shear, smooth_noise, stroke, unit_of


def healthy_panel(size: int, rng: np.random.Generator) -> np.ndarray:
    """A panel without defects, before the camera."""
    picture = _lighting(size, rng) * (1 + _texture(size, rng))
    if rng.random() < 0.35:
        picture = _seams(picture, rng)
    if rng.random() < 0.12:
        picture = _rivets(picture, rng)
    if rng.random() < 0.25:
        picture = picture + _sheen(size, rng)
    return _dust(picture, rng)


def _texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """Relative brightness of the surface around 0."""
    unit, kind = size / 64, rng.integers(3)
    if kind == 2:  # sandblasted: no direction
        fine = smooth_noise(size, 0.8 * unit, 0.8 * unit, rng) * rng.uniform(0.01, 0.03)
        return fine + smooth_noise(size, 2.5 * unit, 2.5 * unit, rng) * rng.uniform(0.01, 0.035)
    if kind == 0:  # brushed: long fine grain, in places stronger
        patches = 1 + 0.6 * blobs(size, 3, rng)
        grain = patches * smooth_noise(size, 26 * unit, 0.8 * unit, rng) * rng.uniform(0.015, 0.05)
        grain += smooth_noise(size, 6 * unit, 0.8 * unit, rng) * rng.uniform(0.01, 0.03)
    else:  # rolled: soft bands under a short grain
        grain = smooth_noise(size, 40 * unit, 5 * unit, rng) * rng.uniform(0.02, 0.06)
        grain += smooth_noise(size, 4 * unit, 1.5 * unit, rng) * rng.uniform(0.01, 0.03)
    if rng.random() < 0.4:
        grain = shear(grain, rng.uniform(-0.5, 0.5))
    return grain if rng.random() < 0.5 else grain.T


def _lighting(size: int, rng: np.random.Generator) -> np.ndarray:
    """Grey level of a smooth panel: a slope, a vignette, mottling, and often the band of a curved part."""
    x = np.arange(size) / size - 0.5
    y = x[:, None]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.7)
    light = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y) - rng.uniform(0, 0.6) * (x * x + y * y)
    light = light + blobs(size, 2, rng) * rng.uniform(0, 0.12)
    if rng.random() < 0.35:
        across, width = (x if rng.random() < 0.5 else y), rng.uniform(0.1, 0.3)
        light = light + rng.uniform(0.1, 0.45) * np.exp(-(((across - rng.uniform(-0.5, 0.5)) / width) ** 2))
    return light * rng.uniform(60, 155)


def _seams(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One straight joint from edge to edge, sometimes two in parallel: a groove, a ridge, or a step."""
    size, unit = len(picture), unit_of(picture)
    turn = rng.normal(0, 0.06) if rng.random() < 0.7 else rng.uniform(-0.8, 0.8)
    angle = turn + (np.pi / 2 if rng.random() < 0.5 else 0.0)
    centre = rng.uniform(0.15, 0.85, 2) * size
    x, y = np.arange(size) - centre[0], np.arange(size)[:, None] - centre[1]
    distance = np.cos(angle) * x + np.sin(angle) * y
    width, kind = max(rng.uniform(0.7, 2.2) * unit, 0.8), rng.random()
    depth = rng.uniform(12, 50) * (-1 if kind < 0.7 else 1) * (1 + 0.25 * blobs(size, 4, rng))
    offsets = [0.0] if rng.random() < 0.8 else [0.0, rng.uniform(3, 9) * unit]
    for offset in offsets:
        line = np.minimum((width / 2 + 0.5 - np.abs(distance - offset)).clip(0, 1), width)
        edge = (width / 2 + 0.3 * unit - np.abs(distance - offset - 0.9 * width)).clip(0, 1)
        picture = picture + depth * line - 0.4 * depth * edge
    if kind > 0.85:  # the sheets beside it differ
        picture = picture + rng.uniform(-18, 18) * (distance / unit).clip(-0.5, 0.5)
    return picture


def _rivets(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A row of rivets or of drilled holes, lit from the upper left."""
    size, unit = len(picture), unit_of(picture)
    radius, first = rng.uniform(2.2, 4.5) * unit, rng.uniform(0.1, 0.9, 2) * size
    step = rng.uniform(12, 26) * unit * (np.array([1, 0]) if rng.random() < 0.5 else np.array([0, 1]))
    relief, floor = (28.0, 0.0) if rng.random() < 0.6 else (-18.0, -55.0)
    picture, x, y = picture.copy(), np.arange(size), np.arange(size)[:, None]
    for number in range(-5, 6):
        centre = first + number * step
        if (np.abs(centre - size / 2) > size / 2 + radius).any():
            continue
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
        inside = (radius + 0.5 - distance).clip(0, 1)
        shade = ((centre[0] - x) + (centre[1] - y)) / (1.4 * radius)
        rim = np.exp(-(((distance - 1.05 * radius) / (0.8 * unit)) ** 2))
        picture += inside * (relief * shade.clip(-1, 1) + floor) - 25 * rim
    return picture


def _sheen(size: int, rng: np.random.Generator) -> np.ndarray:
    """A lamp's soft image: a broad bright patch, longer than wide."""
    x, y = np.arange(size) / size, np.arange(size)[:, None] / size
    angle, centre = rng.uniform(0, np.pi), rng.uniform(0, 1, 2)
    along = np.cos(angle) * (x - centre[0]) + np.sin(angle) * (y - centre[1])
    across = -np.sin(angle) * (x - centre[0]) + np.cos(angle) * (y - centre[1])
    return rng.uniform(15, 55) * np.exp(-((along / 0.5) ** 2) - (across / rng.uniform(0.06, 0.2)) ** 2)


def _dust(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few specks, most of them dark, some drawn out."""
    size, unit = len(picture), unit_of(picture)
    for _ in range(rng.poisson(2.5)):
        start = rng.uniform(0, size, 2)
        end = start + rng.normal(0, 0.8 * unit, 2)
        speck = stroke(size, np.array([start, end]), rng.uniform(0.5, 1.5) * unit)
        picture = picture + speck * rng.choice([-1.0, -1.0, 1.0]) * rng.uniform(10, 50)
    return picture


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the camera makes of it: slight blur and noise, then (S, S, 1) uint8."""
    for _ in range(2):
        padded = np.pad(picture, ((1, 1), (0, 0)), mode="edge")
        picture = (0.12 * (padded[:-2] + padded[2:]) + 0.76 * padded[1:-1]).T
    noisy = picture + rng.normal(0, rng.uniform(1.5, 4.0), picture.shape)
    return np.round(noisy).clip(0, 255).astype(np.uint8)[:, :, None]
