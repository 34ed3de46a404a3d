"""What the two decoders make of a file, as arrays of one kind."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sbp.data.disk.image_file import refused
from sbp.errors import UserError


def by_opencv(path: Path, data: np.ndarray, flags: int) -> np.ndarray:
    """What OpenCV decodes with these flags. Raises UserError, naming the file, if it cannot."""
    try:
        array = cv2.imdecode(data, flags)
    except cv2.error:
        array = None
    if array is None:
        raise refused(path)
    return array


def full_depth(path: Path, data: np.ndarray) -> np.ndarray:
    """(H, W), or (H, W, C) as RGB, with the transparency last if C is 4, with all bits that the file has.
    Raises UserError, naming the file, if it cannot be decoded."""
    array = by_opencv(path, data, cv2.IMREAD_UNCHANGED)
    return array if array.ndim == 2 else array[:, :, [2, 1, 0, 3][: array.shape[2]]]


def by_pillow(path: Path, image: Image.Image, expand: bool) -> np.ndarray:
    """(H, W), or (H, W, C) with the transparency last if C is 2 or 4; one bit as 0 and 255, inks as RGB.
    expand: palettes become their colours, else indices. Raises UserError, naming the file, for colour that is
    measured otherwise."""
    if image.mode == "1":
        return np.array(image).astype(np.uint8) * 255
    if image.mode in ("CMYK", "YCbCr"):
        return np.array(image.convert("RGB"))
    if expand and image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        return np.array(image.convert("RGBA" if transparent else "RGB"))
    if image.mode not in ("L", "P", "LA", "PA", "RGB", "RGBA") and not image.mode.startswith(("I", "F")):
        raise UserError(f"{path}: has pixels of kind {image.mode}; save it as a grey or RGB image")
    return np.array(image)
