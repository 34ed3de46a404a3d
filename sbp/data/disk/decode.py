"""Image and mask files to arrays; a file that cannot be trusted is named, with what to do about it."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import ExifTags, Image

from sbp.data.disk.exif import turned
from sbp.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# A file that was cut off may still decode, with grey where data is missing; it then lacks its end mark.
_PNG, _JPEG = (b"\x89PNG\r\n", b"IEND\xaeB`\x82"), (b"\xff\xd8", b"\xff\xd9")
_ENDS = {".jpg": _JPEG, ".jpeg": _JPEG, ".png": _PNG}
"""First and last bytes of a file, by suffix."""
MOST_PIXELS = 2**30
"""Of an image, as OpenCV has it."""
# A damaged file is named in one line of ours; what the decoders print about it beside that helps nobody.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow refuses twice this number, by default less than some line-scan cameras deliver.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
_NOT_DECODED = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that it cannot decode."""
T = TypeVar("T")
DARK_SHARE = 8
"""16-bit images whose largest value stays below the white level by this factor are refused: shown as they
are they would be nearly black."""


def read_image(path: Path, channels: int, white_level: int | None = None, exif: bool = False) -> np.ndarray:
    """The file as (H, W, C) uint8. channels: 1 turns colour to grey, 3 repeats grey.

    16-bit images are divided by white_level (None: 65535), which cameras of 10 to 14 bits do not reach.
    Raises UserError, naming the file, if it cannot be read, is cut off, or is far darker than white_level.
    """
    data = _bytes(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        _expect_whole_tiff(path, data)
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise _refused(path)
    if image.dtype == np.uint16:
        image = _eight_bits(image, path, white_level)
    elif image.dtype != np.uint8:
        raise UserError(f"{path}: has pixels of type {image.dtype}; images must have 8 or 16 bits a channel")
    image = image if channels == 3 else image[:, :, None]
    return turned(image, orientation(path)) if exif else image


def image_shape(path: Path, exif: bool = False) -> tuple[int, int] | None:
    """Height and width as the file's header has them; None if that cannot be read."""
    shape = _from_header(path, lambda image: (image.height, image.width), None)
    return shape[::-1] if shape and exif and orientation(path) > 4 else shape


def read_colours(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
    return rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]


def orientation(path: Path) -> int:
    """How the file says that it is to be shown, 1 to 8 as EXIF has it; 1, as it is stored, if it says
    nothing. Images are read as they are stored."""
    return _from_header(path, lambda image: int(image.getexif().get(ExifTags.Base.Orientation, 1)), 1)


def _from_header(path: Path, read: Callable[[Image.Image], T], otherwise: T) -> T:
    try:
        with Image.open(path) as image:
            return read(image)
    except _NOT_DECODED:
        return otherwise


def _refused(path: Path) -> UserError:
    """Why a file cannot be decoded."""
    try:
        Image.open(path).close()
    except Image.DecompressionBombError:
        return UserError(f"{path}: has more than {MOST_PIXELS} pixels; cut it into several images")
    except _NOT_DECODED:
        pass
    return UserError(f"{path}: is damaged or no image, it cannot be decoded")


def _expect_whole_tiff(path: Path, data: np.ndarray) -> None:
    """OpenCV decodes what is left of a damaged compressed file without a word; Pillow, slower, refuses it."""
    try:
        image = Image.open(io.BytesIO(data.tobytes()))
    except _NOT_DECODED:
        return  # a kind that it does not know, 16 bits a colour for one, or too large for OpenCV, too
    try:
        with image:
            image.load()
    except _NOT_DECODED:
        raise _refused(path) from None


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
    except _NOT_DECODED:
        raise _refused(path) from None
    if pixels.dtype == np.uint8 and pixels.ndim == 2:
        return pixels
    if pixels.ndim == 2:
        # NaN is not equal to itself
        whole = pixels.dtype.kind in "iub" or bool((pixels == np.round(pixels)).all())
        if not whole or pixels.min() < 0 or pixels.max() > 65535:
            raise UserError(f"{path}: a mask has whole numbers from 0 to 65535; save it with 8 or 16 bits")
        return pixels.astype(np.uint16)
    if pixels.shape[2] in (2, 4) and (pixels[:, :, -1] != pixels[0, 0, -1]).any():
        raise UserError(f"{path}: holds the mask in its transparency; save it as a grey image without")
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
    head = data[:8].tobytes()
    ends = next((e for e in (_PNG, _JPEG) if head.startswith(e[0])), _ENDS.get(suffix))
    # some cameras fill their files up with zeros
    if ends and ends[1] not in data[-64:].tobytes() and ends[1] not in data.tobytes().rstrip(b"\0")[-64:]:
        raise UserError(f"{path}: is cut off or not a {suffix[1:]} file")
    if suffix == ".bmp" and int.from_bytes(data[2:6].tobytes(), "little") > len(data):
        raise UserError(f"{path}: is cut off")
    return data
