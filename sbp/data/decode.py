"""Image and mask files to arrays; a file that cannot be trusted is named, with what to do about it."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from sbp.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# A file that was cut off may still decode, with grey where data is missing; it then lacks its end mark.
_END_MARKS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
DARK_SHARE = 8
"""16-bit images whose largest value stays below the white level by this factor are refused: shown as they
are they would be nearly black."""


def read_image(path: Path, channels: int, white_level: int | None = None) -> np.ndarray:
    """The file as (H, W, C) uint8. channels: 1 turns colour to grey, 3 repeats grey.

    16-bit images are divided by white_level (None: 65535), which cameras of 10 to 14 bits do not reach.
    Raises UserError, naming the file, if it cannot be read, is cut off, or is far darker than white_level.
    """
    data = _bytes(path)
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    image = cv2.imdecode(data, flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise UserError(f"{path}: is damaged or no image, it cannot be decoded")
    if image.dtype == np.uint16:
        image = _eight_bits(image, path, white_level)
    elif image.dtype != np.uint8:
        raise UserError(f"{path}: has pixels of type {image.dtype}; images must have 8 or 16 bits a channel")
    return image if channels == 3 else image[:, :, None]


def image_shape(path: Path) -> tuple[int, int] | None:
    """Height and width as the file's header has them; None if that cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _eight_bits(image: np.ndarray, path: Path, white_level: int | None) -> np.ndarray:
    white, highest = white_level or 65535, int(image.max())
    if white_level is None and 0 < highest * DARK_SHARE < white:
        raise UserError(
            f"{path}: is a 16-bit image with values up to {highest} only; say what its white is, for example "
            f"data.white_level={max(255, (1 << highest.bit_length()) - 1)}"
        )
    return np.minimum(np.round(image * (255.0 / white)), 255).astype(np.uint8)


def read_mask(path: Path) -> np.ndarray:
    """The file as (H, W) uint8 or uint16: grey values, or palette indices.

    Raises UserError, naming the file, if it cannot be read, or shows colours where one value per pixel is
    expected.
    """
    data = _bytes(path)
    try:
        with Image.open(io.BytesIO(data.tobytes())) as image:
            if image.mode == "1":
                return np.asarray(image).astype(np.uint8) * 255
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise UserError(f"{path}: is damaged or no image, it cannot be decoded") from None
    if pixels.ndim == 2:
        return pixels.astype(np.uint16) if pixels.dtype.itemsize > 1 else pixels
    colours = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]
    if (colours != colours[:, :, :1]).any():
        raise UserError(
            f"{path}: is a colour image; a mask has one value per pixel, as a grey or palette image "
            "(each defect's colour becomes one value)"
        )
    return np.ascontiguousarray(colours[:, :, 0])


def _bytes(path: Path) -> np.ndarray:
    """The file's content; cv2.imread would fail on some systems for a path that is not ASCII."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not len(data):
        raise UserError(f"{path}: is empty (0 bytes)")
    suffix = path.suffix.lower()
    mark = _END_MARKS.get(suffix)
    if mark is not None and mark not in data[-64:].tobytes():
        raise UserError(f"{path}: is cut off or not a {suffix[1:]} file")
    if suffix == ".bmp" and int.from_bytes(data[2:6].tobytes(), "little") > len(data):
        raise UserError(f"{path}: is cut off")
    return data
