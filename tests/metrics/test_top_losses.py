"""Why images are among those of the highest loss."""

import math

import numpy as np
import pytest

from sbp.metrics.top_losses import CATEGORIES, peak_category, top_loss_shares

SIZE = 32
# an annotated square of rows and columns 8 to 19
ANNOTATION = np.zeros((SIZE, SIZE), np.uint8)
ANNOTATION[8:20, 8:20] = 1


def peak(y: int, x: int) -> np.ndarray:
    loss = np.full((SIZE, SIZE), 0.1)
    loss[y, x] = 5.0
    return loss


@pytest.mark.parametrize(
    ("y", "x", "category"),
    [
        (14, 14, "missed"),
        (10, 14, "missed"),  # two pixels inside the border
        (9, 14, "border"),
        (7, 14, "border"),
        (6, 14, "border"),
        (5, 14, "background"),
        (0, 0, "background"),
    ],
)
def test_where_the_highest_loss_lies(y, x, category):
    assert peak_category(peak(y, x), ANNOTATION) == category


def test_a_true_defect_without_annotation_is_missing():
    clean = ANNOTATION.copy()
    clean[25:28, 25:28] = 1
    assert peak_category(peak(26, 26), ANNOTATION, clean) == "missing"
    assert peak_category(peak(23, 23), ANNOTATION, clean) == "missing"  # at its border
    assert peak_category(peak(26, 26), ANNOTATION) == "background"  # without clean masks nobody can know
    assert peak_category(peak(2, 2), ANNOTATION, clean) == "background"


def test_a_true_defect_that_is_annotated_somewhere_is_not_missing():
    clean = np.zeros_like(ANNOTATION)
    clean[12:16, 15:30] = 1  # sticks out of its annotation
    assert peak_category(peak(14, 28), ANNOTATION, clean) == "background"


def test_a_defect_at_the_edge_of_the_image_has_no_border_there():
    annotation = np.zeros((SIZE, SIZE), np.uint8)
    annotation[:, :10] = 1
    assert peak_category(peak(16, 0), annotation) == "missed"


def test_shares_add_up_over_images_and_use_the_channel_of_the_highest_loss():
    annotations = np.zeros((3, SIZE, SIZE, 2), np.uint8)
    annotations[..., 1] = ANNOTATION
    quiet = np.full((SIZE, SIZE), 0.1)
    maps = np.stack([np.stack([quiet, peak(*at)]) for at in ((14, 14), (0, 0), (0, 31))])
    shares = top_loss_shares(maps, annotations)
    assert shares == {
        "top/missed": pytest.approx(1 / 3),
        "top/background": pytest.approx(2 / 3),
        "top/border": 0,
        "top/missing": 0,
    }


def test_no_image_gives_no_share():
    shares = top_loss_shares(np.empty((0, 1, 4, 4)), np.empty((0, 4, 4, 1)))
    assert set(shares) == {f"top/{name}" for name in CATEGORIES}
    assert all(math.isnan(value) for value in shares.values())
