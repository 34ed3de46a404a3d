"""Images and masks brought to the model's size, and predictions brought back."""

import cv2
import numpy as np
import pytest

from sbp.data.disk.resize import Resizer

SHAPES = [(40, 24), (24, 40), (64, 64), (7, 90)]


def smooth(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((6, 6)).astype(np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)[:, :, None]


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_gets_the_models_size(fit, shape, channels):
    image = np.full((*shape, channels), 77, np.uint8)
    fitted = Resizer(32, 48, fit).image(image)
    assert fitted.shape == (32, 48, channels)
    assert (fitted == 77).all()


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_prediction_comes_back_to_where_it_was_in_the_image(fit, shape):
    rows, columns = (np.linspace(0, 1, side) for side in shape)
    image = (120 * rows[:, None] + 120 * columns).astype(np.uint8)[:, :, None]
    resizer = Resizer(64, 64, fit)
    back = resizer.restored(resizer.image(image).astype(np.float32), shape)
    assert back.shape == (*shape, 1)
    assert np.abs(back - image).max() < 20  # of 240: one pixel of the shorter side


def test_padding_keeps_the_shape_and_annotates_nothing_outside():
    resizer = Resizer(32, 32, "pad")
    mask = np.ones((10, 40), bool)
    fitted = resizer.mask(mask)
    assert fitted.sum() == 8 * 32  # 40 pixels become 32, 10 become 8
    assert not fitted[:12].any()
    assert not fitted[20:].any()


def test_several_defects_come_back_together():
    values = np.stack([smooth((32, 32), k)[:, :, 0] for k in range(3)], axis=2)
    assert Resizer(32, 32, "pad").restored(values, (50, 20)).shape == (50, 20, 3)
