"""What only looks like a defect. Each draws on a picture (S, S) float64 and leaves no mask."""

from collections.abc import Callable

import numpy as np

from sbp.data.synthetic.fields import arc, blobs, depth_inside, stroke, unit_of


def fibre(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lint fibre: thin and curved as a scratch, but it curls, keeps its width and casts a soft shadow."""
    size, unit = len(picture), unit_of(picture)
    centre, length, count = rng.uniform(0.25, 0.75, 2) * size, rng.uniform(18, 46) * unit, 30
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.05) + np.cumsum(rng.normal(0, 0.03, count)))
    points = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length / count), axis=0)
    points = points - points.mean(axis=0) + centre
    width = max(rng.uniform(0.7, 1.2) * unit, 0.8)
    shadow = stroke(size, points + 1.4 * unit, 2.2 * width)
    contrast = rng.uniform(18, 60) * rng.choice([-1.0, 1.0])
    return picture + contrast * stroke(size, points, width) - rng.uniform(4, 12) * shadow


def stain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dried drop: as large and dark as damage, but smooth, with a soft edge; the texture shows through."""
    size, unit = len(picture), unit_of(picture)
    centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(4, 10) * unit
    angles = np.linspace(-np.pi, np.pi, 64, endpoint=False)
    radii = np.full(64, radius)
    for wave in (2, 3, 4):
        radii = radii * (1 + rng.normal(0, 0.22 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi)))
    inside = depth_inside(size, centre, radii) + 0.12 * radius * blobs(size, 8, rng)
    softness = rng.uniform(1.0, 2.5) * unit
    film = 1 / (1 + np.exp((-inside / softness * 2).clip(-30, 30)))
    ring = np.exp(-(((inside - softness) / (0.8 * softness)) ** 2))
    strength = rng.uniform(0.12, 0.42)
    return picture * (1 - strength * film * (1 + 0.2 * blobs(size, 10, rng)) - rng.uniform(0, 0.15) * ring)


def reflection(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A glint: a bright streak with a halo that swells and fades out at both ends."""
    size, unit = len(picture), unit_of(picture)
    points = arc(rng.uniform(0.2, 0.8, 2) * size, rng.uniform(16, 44) * unit, rng.normal(0, 0.06), rng, 72)
    core = rng.uniform(0.4, 1.0) * unit
    x, y = np.arange(size), np.arange(size)[:, None]
    streak = np.zeros_like(picture)
    strengths = np.exp(-1.5 * np.linspace(-1.5, 1.5, len(points)) ** 2)
    for (point_x, point_y), strength in zip(points, strengths, strict=True):
        spread = 2 * (core * (0.8 + 0.4 * strength)) ** 2
        glow = np.exp(-((x - point_x) ** 2) / spread) * np.exp(-((y - point_y) ** 2) / spread)
        streak = np.maximum(streak, strength * glow)
    return picture + rng.uniform(45, 150) * streak


LOOKALIKES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "fibre": fibre,
    "stain": stain,
    "reflection": reflection,
}
