"""Image and mask files to arrays; a file that cannot be trusted is named, with what to do about it."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import ExifTags, Image

from sbp.data.disk import tiff
from sbp.data.disk.decoders import by_opencv, by_pillow, full_depth
from sbp.data.disk.exif import turned
from sbp.data.disk.image_file import (
    MOST_PIXELS,
    NOT_DECODED,
    PNG_COLOUR,
    bmp_kind,
    container,
    file_bytes,
    is_bare_cmyk,
    png_kind,
    refused,
    without_colour_space,
)
from sbp.data.disk.tiff_header import ORIENTATION, header, layout
from sbp.errors import UserError

T = TypeVar("T")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# A damaged file is named in one line of ours; what the decoders print about it beside that helps nobody.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow refuses twice this number, by default less than some line-scan cameras deliver.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
DARK_SHARE = 8
"""16-bit images whose largest value stays below the white level by this factor are refused: shown as they
are they would be nearly black."""
_GREY = np.array([[4899 / 2**14, 9617 / 2**14, 1868 / 2**14, 0.5]])
"""Shares of red, green and blue in grey, 0.299, 0.587 and 0.114 as OpenCV's decoders have them, and what
rounds the sum."""
_ROWS = 64
_PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
"""What a PNG that says how it is to be shown has of these."""
NAMED_COLOURS = 4
"""Of a colour image that is refused as a mask."""


def read_image(path: Path, channels: int, white_level: int | None = None, exif: bool = False) -> np.ndarray:
    """The file as (H, W, C) uint8. channels: 1 turns colour to grey, 3 repeats grey; transparency is ignored.
    exif: turned as the file says that it is to be shown, else as it is stored.

    16-bit images are divided by white_level (None: 65535), which cameras of 10 to 14 bits do not reach.
    Raises UserError, naming the file, if it cannot be read, is cut off, is of a kind that no decoder gets
    right, or is far darker than white_level.
    """
    data = file_bytes(path)
    kind, white = container(data), 65535.0
    if kind == "tiff":
        pixels, stored = tiff.pixels(path, data, expand=True)
        white = stored.white
    elif kind == "bmp" and bmp_kind(data)[0] == 16:  # OpenCV fills five or six bits up with zeros
        pixels = _stored(path, data, expand=True)
    else:
        pixels = _decoded(path, data, kind, channels)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: has pixels of type {pixels.dtype}; images must have 8 or 16 bits a channel")
    image = _in_channels(pixels, channels)
    if image.dtype == np.uint16:
        image = _eight_bits(image, path, white_level, white)
    if exif:
        image = turned(image, orientation(path))
    return image if channels == 3 else image[:, :, None]


def image_shape(path: Path, exif: bool = False) -> tuple[int, int] | None:
    """Height and width as the file's header has them, of the image as it is stored, or with exif as it is to
    be shown; None if that cannot be read."""
    stored = header(path)
    shape = stored.shape if stored else _from_header(path, lambda image: (image.height, image.width), None)
    if not shape or not 0 < shape[0] * shape[1] <= MOST_PIXELS:
        return None
    return shape[::-1] if exif and orientation(path) > 4 else shape


def orientation(path: Path) -> int:
    """How the file says that it is to be shown, 1 to 8 as EXIF has it; 1, as it is stored, if it says
    nothing."""
    stored = header(path)
    if stored and ORIENTATION in stored.tags:
        value = stored.first(ORIENTATION)
    else:
        value = _from_header(path, lambda image: _exif_orientation(path, image), 1)
    return value if value in range(1, 9) else 1


def _exif_orientation(path: Path, image: Image.Image) -> int:
    # Pillow decodes a PNG to see whether something follows its pixels
    if image.format == "PNG":
        content = path.read_bytes()
        if not any(mark in content for mark in _PNG_EXIF):
            return 1
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _from_header(path: Path, read: Callable[[Image.Image], T], otherwise: T) -> T:
    try:
        with Image.open(path) as image:
            return read(image)
    except NOT_DECODED:
        return otherwise


def _decoded(path: Path, data: np.ndarray, kind: str | None, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) of a file that OpenCV reads as it is asked to, which is fastest."""
    _expect_clear(path, data, kind)
    if kind == "png" and channels == 1 and png_kind(data)[1] in PNG_COLOUR:
        data = without_colour_space(data)
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    return by_opencv(path, data, flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)


def _expect_clear(path: Path, data: np.ndarray, kind: str | None) -> None:
    """Decoders guess what these mean, and not all the same."""
    if kind == "jpeg" and is_bare_cmyk(data):
        raise UserError(f"{path}: is a CMYK image that does not say which way its inks count; save it as RGB")
    if kind == "bmp" and not bmp_kind(data)[1]:
        raise UserError(f"{path}: is a BMP whose channels are not of 8 bits each; save it as PNG")


def _in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) grey or (H, W, 3) RGB from (H, W), or (H, W, C) with the transparency last."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3])
    if pixels.ndim == 3 and channels == 1:
        return _grey(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if channels == 3 and pixels.ndim == 2 else pixels


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W) from (H, W, 3), as OpenCV's decoders make it; by rows, for it needs real numbers."""
    grey = np.empty(pixels.shape[:2], pixels.dtype)
    exact = np.float32 if pixels.dtype == np.uint8 else np.float64
    for row in range(0, len(pixels), _ROWS):
        rows = slice(row, row + _ROWS)
        grey[rows] = cv2.transform(pixels[rows].astype(exact), _GREY.astype(exact))
    return grey


def _stored(path: Path, data: np.ndarray, expand: bool) -> np.ndarray:
    """The pixels at their full depth, (H, W), or (H, W, C) with the transparency last if C is 2 or 4.
    expand: palettes become their colours, else indices."""
    kind = container(data)
    if kind == "tiff":
        return tiff.pixels(path, data, expand)[0]
    if kind == "png" and png_kind(data)[0] == 16:  # Pillow cuts colour to 8 bits
        return full_depth(path, data)
    _expect_clear(path, data, kind)
    try:
        with Image.open(io.BytesIO(data.tobytes())) as image:
            return by_pillow(path, image, expand)
    except NOT_DECODED:
        raise refused(path) from None


def _eight_bits(image: np.ndarray, path: Path, white_level: int | None, white: float) -> np.ndarray:
    highest = int(image.max())
    if white_level is None and 0 < highest * DARK_SHARE < white:
        raise UserError(
            f"{path}: is a 16-bit image with values up to {highest} only; say what its white is, for example "
            f"data.white_level={max(255, (1 << highest.bit_length()) - 1)}"
        )
    return np.minimum(np.round(image * (255.0 / (white_level or white))), 255).astype(np.uint8)


def read_mask(path: Path) -> np.ndarray:
    """The file as (H, W) uint8 or uint16: grey values, or palette indices, as it is stored.

    Raises UserError, naming the file, if it cannot be read, or shows colours where one value per pixel is
    expected.
    """
    data = file_bytes(path)
    pixels = _opaque(path, _stored(path, data, expand=False))
    if pixels.ndim == 3:
        if (pixels != pixels[:, :, :1]).any():
            raise _is_colour(path, _colours(path, data, pixels))
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    if pixels.dtype == np.uint8:
        return pixels
    # NaN is not equal to itself
    whole = pixels.dtype.kind in "iu" or bool((pixels == np.round(pixels)).all())
    if not whole or pixels.min() < 0 or pixels.max() > 65535:
        raise UserError(f"{path}: a mask has whole numbers from 0 to 65535; save it with 8 or 16 bits")
    return pixels.astype(np.uint16)


def read_colours(path: Path) -> np.ndarray:
    """The colours of a mask, as it is stored, as (H, W) uint32 of 0xRRGGBB; of palettes too, and grey as
    equal channels.

    Raises UserError, naming the file, if it cannot be read, or may not hold the colours that were drawn: a
    JPEG, more than 8 bits, or transparency that differs.
    """
    data = file_bytes(path)
    return _colours(path, data, _opaque(path, _stored(path, data, expand=True)))


def _colours(path: Path, data: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    in_tiff = layout(data.data)
    if container(data) == "jpeg" or (in_tiff and in_tiff.is_jpeg):
        raise UserError(f"{path}: JPEG changes colours; save masks as PNG")
    if pixels.dtype != np.uint8:
        raise UserError(
            f"{path}: has colours of type {pixels.dtype}; save colour masks with 8 bits a channel"
        )
    red, green, blue = np.moveaxis(_in_channels(pixels, 3).astype(np.uint32), 2, 0)
    return red << 16 | green << 8 | blue


def _is_colour(path: Path, colours: np.ndarray) -> UserError:
    values, times = np.unique(colours, return_counts=True)
    often = values[np.argsort(-times, kind="stable")[:NAMED_COLOURS]]
    return UserError(
        f"{path}: is a colour image ({', '.join(f'#{value:06x}' for value in often)}): say what its colours "
        "mean with data.colours={DEFECT: '#ff0000'}"
    )


def _opaque(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The pixels without their transparency, which must be the same everywhere."""
    if pixels.ndim < 3 or pixels.shape[2] == 3:
        return pixels
    if (pixels[:, :, -1] != pixels[0, 0, -1]).any():
        raise UserError(f"{path}: holds the mask in its transparency; save it as a grey image without")
    return pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3]
