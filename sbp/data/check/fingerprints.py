"""What an image looks like, small: for finding the same part photographed twice."""

import hashlib

import cv2
import numpy as np

SIDE = 96
"""Side that the set's median image is brought to, and all others by the same factor: the camera's scale."""
BLOCK = 14
"""Frequencies of the descriptor in each direction."""


def exact_hash(image: np.ndarray) -> str:
    """The same for images that are equal pixel by pixel, also after quarter turns and flips. image: (H, W, C)
    uint8."""
    digests = []
    for flipped in (image, image[:, ::-1]):
        for turns in range(4):
            turned = np.ascontiguousarray(np.rot90(flipped, turns))
            digests.append(hashlib.sha1(str(turned.shape).encode() + turned.tobytes()).hexdigest())
    return min(digests)


def texture(image: np.ndarray, factor: float) -> np.ndarray:
    """(h, w) float32: the image's own fine structure, shrunk by `factor`, without exposure, lighting and
    straight lines along rows and columns, which other parts share (grinding, seams). image: (H, W, C)."""
    grey = image[:, :, 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = (int(np.clip(round(side * factor), SIDE // 3, 4 * SIDE)) for side in grey.shape)
    x = np.log(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) + 8)
    x -= cv2.GaussianBlur(x, (0, 0), SIDE / 12)
    x -= x.mean(axis=0, keepdims=True)
    x -= x.mean(axis=1, keepdims=True)
    spread = np.sqrt(cv2.GaussianBlur(x * x, (0, 0), SIDE / 8))
    return np.clip(x / (spread + 0.25 * spread.mean() + 1e-6), -3, 3)


def spectrum(texture: np.ndarray) -> np.ndarray:
    """(2 * BLOCK + 1, 2 * BLOCK + 1) float32: low frequencies of the texture's centre, without phase, so that
    a shifted image has nearly the same; also the same after half a turn."""
    (height, width), s = texture.shape, SIDE
    top, left = max(0, (height - s) // 2), max(0, (width - s) // 2)
    part = texture[top : top + s, left : left + s]
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in part.shape))
    canvas = np.zeros((s, s), np.float32)
    canvas[: part.shape[0], : part.shape[1]] = part * window
    shifted = np.fft.fftshift(np.abs(np.fft.fft2(canvas)))
    c = s // 2
    return np.log1p(shifted[c - BLOCK : c + BLOCK + 1, c - BLOCK : c + BLOCK + 1]).astype(np.float32)
