"""TIFF files to pixels as they are stored; the header says which decoder gets them right."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from sbp.data.disk.decoders import by_pillow, full_depth
from sbp.data.disk.image_file import MOST_PIXELS, NOT_DECODED, refused
from sbp.data.disk.tiff_header import (
    BLACK_IS_0,
    COLOUR_MAP,
    EXTRA,
    FORMAT,
    ORIENTATION,
    PACKED,
    PHOTOMETRIC,
    PLANES,
    REAL,
    RGB,
    SAMPLES,
    SIGNED,
    UNSIGNED,
    WHITE_IS_0,
    Layout,
    layout,
)
from sbp.errors import UserError

# Pillow's own reading of what is not compressed takes tiles of separate colour planes for others.
TiffImagePlugin.READ_LIBTIFF = True
_ASSOCIATED, _UNASSOCIATED = 1, 2
"""Transparency that colours are multiplied by, and that they are not."""
_DEEP = {UNSIGNED: (*PACKED, 16, 32, 64), SIGNED: (16, 32, 64), REAL: (32, 64)}
"""Bits of numbers that OpenCV knows."""


def pixels(path: Path, data: np.ndarray, expand: bool) -> tuple[np.ndarray, Layout]:
    """(H, W), or (H, W, C) with the transparency last if C is 2 or 4, as stored: not turned, and neither
    multiplied nor divided by the transparency; grey counts from black. data: the file's bytes, whose header
    is changed. expand: palettes become their colours. Raises UserError, naming the file, if it is damaged or
    of a kind that is not read."""
    stored = layout(data.data)
    if stored is None or PHOTOMETRIC not in stored.tags:
        raise refused(path)
    if stored.shape[0] * stored.shape[1] > MOST_PIXELS:
        raise UserError(f"{path}: has more than {MOST_PIXELS} pixels; cut it into several images")
    if not stored.is_known:
        raise _unknown(path, stored)
    _take_as_stored(data, stored)
    if stored.bits > 8:
        return _deep(path, data, stored), stored
    return _shallow(path, data, stored, expand), stored


def _take_as_stored(data: np.ndarray, stored: Layout) -> None:
    """Change the header so that decoders neither turn the image nor divide it by its transparency."""
    for tag, (place, code) in stored.places.items():
        values = stored.tags[tag]
        if tag == ORIENTATION:
            struct.pack_into(code, data.data, place, *[1 for _ in values])
        if tag == EXTRA:
            struct.pack_into(
                code, data.data, place, *[_UNASSOCIATED if v == _ASSOCIATED else v for v in values]
            )


def _unknown(path: Path, stored: Layout) -> UserError:
    return UserError(f"{path}: is a TIFF of a kind that is not read ({stored}); save it as a grey or RGB PNG")


def _pillow(path: Path, data: np.ndarray) -> Image.Image | None:
    """The image, decoded, which Pillow refuses if any of it is damaged; None for a kind that it does not
    know."""
    try:
        image = Image.open(io.BytesIO(data.tobytes()))
    except NOT_DECODED:
        return None
    try:
        image.getexif()[ExifTags.Base.Orientation] = 1  # XMP may say another
        image.load()
    except NOT_DECODED:
        raise refused(path) from None
    return image


def _shallow(path: Path, data: np.ndarray, stored: Layout, expand: bool) -> np.ndarray:
    """Up to 8 bits. Pillow has four channels wrong that lie in separate planes and are not said to be
    transparency."""
    no_extra = stored.first(PHOTOMETRIC) == RGB and stored.first(SAMPLES) > 3 and EXTRA not in stored.tags
    image = None if no_extra and stored.first(PLANES) == 2 else _pillow(path, data)
    if image is None:
        raise _unknown(path, stored)
    if image.mode in ("P", "PA"):
        image.putpalette(_palette(path, stored))
    array = by_pillow(path, image, expand)
    return array.view(np.int8) if stored.first(FORMAT) == SIGNED else array


def _palette(path: Path, stored: Layout) -> bytes:
    numbers = np.array(stored.tags.get(COLOUR_MAP, ()))
    if len(numbers) != 3 << stored.bits:
        raise refused(path)
    # some write 8 bits where 16 are asked for
    return (numbers >> 8 if numbers.max() > 255 else numbers).astype(np.uint8).reshape(3, -1).T.tobytes()


def _deep(path: Path, data: np.ndarray, stored: Layout) -> np.ndarray:
    """More than 8 bits."""
    if not _is_read_by_opencv(stored):
        raise _unknown(path, stored)
    _pillow(path, data)  # OpenCV decodes what is left of a damaged compressed file without a word
    array = full_depth(path, data)
    if stored.bits in PACKED:
        array >>= 16 - stored.bits
    return (1 << stored.bits) - 1 - array if stored.first(PHOTOMETRIC) == WHITE_IS_0 else array


def _is_read_by_opencv(stored: Layout) -> bool:
    """Whether OpenCV gets more than 8 bits right: of grey, and of colour whose pixels are in one piece. Only
    as it is stored: asked for RGB, version 5.0 leaves the memory of 16-bit images unwritten."""
    samples, photometric, number = stored.first(SAMPLES), stored.first(PHOTOMETRIC), stored.first(FORMAT)
    grey = samples == 1 and (photometric == BLACK_IS_0 or (photometric, number) == (WHITE_IS_0, UNSIGNED))
    colour = samples in (3, 4) and photometric == RGB and stored.first(PLANES) == 1
    return (grey or colour) and stored.bits in _DEEP[number]
