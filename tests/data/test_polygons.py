"""Polygons at any size: the pixels of a fill at eight times the resolution, in a fraction of its memory."""

import resource

import cv2
import numpy as np
import pytest

from sbp.data.disk import polygons
from sbp.data.disk.polygons import Polygons, covered


def coverage(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Of each pixel, by OpenCV's fill at eight times the resolution, in one piece."""
    fine = np.zeros((height * 8, width * 8), np.uint8)
    cv2.fillPoly(fine, [np.round((points * 8 - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return cv2.resize(fine.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def star(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(0.1, 0.5, count)
    return np.stack(
        [width * (0.5 + radius * np.cos(angles)), height * (0.5 + radius * np.sin(angles))], axis=1
    )


@pytest.mark.parametrize("count", [3, 9, 60, 400])
def test_in_blocks_it_draws_what_it_draws_in_one_piece(monkeypatch, count):
    """But for pixels that are covered by about half: a line that is cut off is rounded otherwise."""
    monkeypatch.setattr(polygons, "AT_ONCE", 50)
    rng = np.random.default_rng(count)
    for height, width in ((200, 333), (61, 700)):
        points = star(rng, count, height, width)
        drawn, share = covered(points, height, width), coverage(points, height, width)
        on_outline = (share > 0) & (share < 1)
        assert not (drawn != (share >= 0.5))[~on_outline].any()
        assert np.mean((drawn != (share >= 0.5))[on_outline]) < 0.06


def test_a_crack_across_a_large_image_does_not_vanish_in_blocks(monkeypatch):
    monkeypatch.setattr(polygons, "AT_ONCE", 50)
    points = np.array([[3.0, 2.0], [690.0, 180.0], [690.0, 180.2], [3.0, 2.2]])
    drawn = covered(points, 200, 700)
    assert drawn.any()
    assert (coverage(points, 200, 700)[drawn] > 0).all()


def test_a_box_over_24_million_pixels_needs_little_memory():
    """Drawn in one piece it takes 1.5 GB; the mask itself has 24 MB, its coverage 96 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outline = (0.0, 0.0, 4000.0, 0.0, 4000.0, 6000.0, 0.0, 6000.0)
    assert Polygons((outline,), "").mask((6000, 4000)).all()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 500
