"""What is wrong with a panel, and what only looks like it. Each draws on a picture (S, S) float64."""

from collections.abc import Callable

import cv2
import numpy as np

from sbp.data.inspection.panel import area_coverage, blobs, line_coverage

COVERED = 0.3
"""Share of a pixel from which it belongs to the clean mask."""


def _curve(size: int, length: float, bend: float, rng: np.random.Generator) -> np.ndarray:
    """A curved line inside the image: (n, 2) points x, y of a quadratic Bezier arc."""
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    normal = np.array([-direction[1], direction[0]])
    centre = rng.uniform(0.2, 0.8, 2) * size
    start, end = centre - direction * length / 2, centre + direction * length / 2
    control = centre + normal * bend * length
    t = np.linspace(0, 1, 24)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def scratch(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A thin curved line, darker or brighter, from barely visible to clear; its clean mask (S, S) uint8."""
    size, unit = len(picture), len(picture) / 64
    points = _curve(size, rng.uniform(14, 46) * unit, rng.normal(0, 0.12), rng)
    coverage = line_coverage(size, points, rng.uniform(0.8, 1.7) * unit)
    contrast = np.exp(rng.uniform(np.log(14), np.log(70))) * rng.choice([-1.0, 1.0])
    pressure = 0.8 + 0.35 * blobs(size, 6, rng)  # it does not cut equally deep everywhere
    return picture + contrast * pressure * coverage, (coverage >= COVERED).astype(np.uint8)


def broken(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An irregular damaged zone, rough inside, with cracks that run out of it; its clean mask."""
    size, unit = len(picture), len(picture) / 64
    centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(4.5, 9.5) * unit
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    radii = radius * np.exp(rng.normal(0, 0.25, len(angles)))
    outline = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    zone = area_coverage(size, outline)
    rim = line_coverage(size, np.concatenate([outline, outline[:1]]), 1.0 * unit)
    depth = np.exp(rng.uniform(np.log(10), np.log(45)))
    rough = blobs(size, 22, rng) * rng.uniform(14, 32)
    picture = picture + zone * (rough - depth) + rim * rng.uniform(5, 30)
    mask = zone
    for _ in range(rng.integers(2, 5)):
        crack = _crack(size, centre, radius, rng)
        coverage = line_coverage(size, crack, rng.uniform(0.6, 1.1) * unit)
        picture = picture - coverage * (depth + 15)
        mask = np.maximum(mask, coverage)
    return picture, (mask >= COVERED).astype(np.uint8)


def _crack(size: int, centre: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A jagged line outwards from a damaged zone: (n, 2) points."""
    angle, step = rng.uniform(0, 2 * np.pi), radius * 0.3
    points = [centre + 0.5 * radius * np.array([np.cos(angle), np.sin(angle)])]
    for _ in range(rng.integers(4, 8)):
        angle += rng.normal(0, 0.45)
        points.append(points[-1] + step * np.array([np.cos(angle), np.sin(angle)]))
    return np.array(points)


def fibre(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lint fibre: thin and curved as a scratch, but it curls and casts a soft shadow."""
    size, unit = len(picture), len(picture) / 64
    points = _curve(size, rng.uniform(16, 36) * unit, rng.normal(0, 0.3), rng)
    phase = np.linspace(0, rng.uniform(4, 9), len(points)) + rng.uniform(0, 6)
    points = points + 1.8 * unit * np.stack([np.sin(phase), np.cos(1.3 * phase)], axis=1)
    contrast = rng.uniform(20, 55) * rng.choice([-1.0, 1.0])
    shadow = cv2.blur(line_coverage(size, points + 1.5 * unit, 1.6 * unit), (3, 3))
    return picture + contrast * line_coverage(size, points, rng.uniform(0.8, 1.3) * unit) - 14 * shadow


def stain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dried drop: dark and irregular as damage, but smooth inside, with a soft edge and a faint ring."""
    size, unit = len(picture), len(picture) / 64
    centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(5, 11) * unit
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    radii = radius * np.exp(rng.normal(0, 0.12, len(angles)))
    outline = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    soft = 2 * max(1, round(unit)) + 1
    drop = cv2.blur(area_coverage(size, outline), (soft, soft))
    ring = line_coverage(size, np.concatenate([outline, outline[:1]]), 1.2 * unit)
    return picture - rng.uniform(12, 40) * drop - 10 * cv2.blur(ring, (soft, soft))


def reflection(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A glint: a bright narrow streak that fades out at both ends."""
    size, unit = len(picture), len(picture) / 64
    points = _curve(size, rng.uniform(14, 34) * unit, rng.normal(0, 0.05), rng)
    soft = 2 * max(1, round(unit)) + 1
    streak = cv2.blur(line_coverage(size, points, rng.uniform(1.2, 2.6) * unit), (soft, soft))
    middle = points[len(points) // 2]
    y, x = np.mgrid[0:size, 0:size]
    fade = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * (9 * unit) ** 2))
    return picture + rng.uniform(60, 120) * streak * fade


DRAW: dict[str, Callable] = {"scratch": scratch, "broken": broken}
LOOKALIKES: dict[str, Callable] = {"fibre": fibre, "stain": stain, "reflection": reflection}
