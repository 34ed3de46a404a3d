"""Bytes of image files: whole, of a known container, and free of what decoders would act upon unasked."""

import struct
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from sbp.errors import UserError

MOST_PIXELS = 2**30
"""Of an image, as OpenCV has it."""
NOT_DECODED = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for a file that it cannot decode; a damaged one may ask for all memory."""
_MAGIC = {b"\x89PNG": "png", b"BM": "bmp", b"\xff\xd8": "jpeg"}
_MAGIC |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff")  # with + for more than 4 GiB
# A file that was cut off may still decode, with grey where data is missing; it then lacks its end mark.
_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"
_ENDS = {".jpg": _JPEG_END, ".jpeg": _JPEG_END, ".png": _PNG_END, "jpeg": _JPEG_END, "png": _PNG_END}
"""Last bytes of a file, by suffix and container."""
_COLOUR_SPACE = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP"}
PNG_COLOUR = (2, 3, 4, 6)
"""PNG's colour types that are more than grey: RGB, palette, grey and RGB with transparency."""

_BMP_MASKS = {
    16: {(0xF800, 0x07E0, 0x001F), (0x7C00, 0x03E0, 0x001F)},
    32: set(permutations((0xFF, 0xFF00, 0xFF0000, 0xFF000000), 3)),
}
"""Which bits of a pixel are red, green and blue, by how many there are."""


def file_bytes(path: Path) -> np.ndarray:
    """The file's content; cv2.imread would fail on some systems for a path that is not ASCII. Raises
    UserError, naming the file, if it cannot be read, is empty, or is cut off."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not len(data):
        raise UserError(f"{path}: is empty (0 bytes)")
    suffix, kind = path.suffix.lower(), container(data)
    end = _ENDS.get(kind or suffix)
    # some cameras fill their files up with zeros
    if end and end not in data[-64:].tobytes() and end not in data.tobytes().rstrip(b"\0")[-64:]:
        raise UserError(f"{path}: is cut off or not a {suffix[1:]} file")
    if kind == "bmp" and int.from_bytes(data[2:6].tobytes(), "little") > len(data):
        raise UserError(f"{path}: is cut off")
    return data


def container(data: np.ndarray) -> str | None:
    """`png`, `jpeg`, `bmp` or `tiff`, by the first bytes, whatever the suffix says; None for any other."""
    head = data[:4].tobytes()
    return _MAGIC.get(head) or _MAGIC.get(head[:2])


def refused(path: Path) -> UserError:
    """Why a file cannot be decoded."""
    try:
        Image.open(path).close()
    except Image.DecompressionBombError:
        return UserError(f"{path}: has more than {MOST_PIXELS} pixels; cut it into several images")
    except NOT_DECODED:
        pass
    return UserError(f"{path}: is damaged or no image, it cannot be decoded")


def png_kind(data: np.ndarray) -> tuple[int, int]:
    """Bits per channel and colour type of a PNG."""
    return (int(data[24]), int(data[25])) if len(data) > 25 else (0, 0)


def without_colour_space(data: np.ndarray) -> np.ndarray:
    """A PNG without the chunks that say its colour space: with them libpng turns colour to grey in linear
    light, without them, as every other decoder does, from the values as they are."""
    kept, at, view = [data[:8]], 8, data.data
    while at + 8 <= len(data) and (kind := bytes(view[at + 4 : at + 8])) != b"IDAT":
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if kind not in _COLOUR_SPACE:
            kept.append(data[at:end])
        at = end
    return np.concatenate([*kept, data[at:]])


def bmp_kind(data: np.ndarray) -> tuple[int, bool]:
    """Bits per pixel of a BMP, and whether the bits of its channels lie where decoders expect them."""
    if data[14:15].tobytes() == b"\x0c":  # OS/2
        return int.from_bytes(data[24:26].tobytes(), "little"), True
    bits, how = struct.unpack("<HI", data[28:34].tobytes().ljust(6, b"\0"))
    masks = struct.unpack("<3I", data[54:66].tobytes().ljust(12, b"\0"))
    return bits, how not in (3, 6) or masks in _BMP_MASKS.get(bits, ())


def is_bare_cmyk(data: np.ndarray) -> bool:
    """Whether a JPEG has four inks and does not say, as Adobe's do, which way round they count."""
    view, at = data.data, 2
    while at + 10 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame: size and channels
            return view[at + 9] == 4 and b"Adobe" not in bytes(view[:at])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(view[at + 2 : at + 4], "big")
    return False
