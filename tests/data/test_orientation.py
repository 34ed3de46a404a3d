"""Images are read as they are stored, or, if it is asked for, as EXIF has them shown."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sbp.data.disk.decode import image_shape, orientation, read_image, read_mask
from tests.data.image_kinds import BY_NAME
from tests.data.image_writers import PNG_GREY, PNG_RGB, png, tiff

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 13, 3)).astype(np.uint8)
ORIENTATIONS = range(1, 9)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def exif(value: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = value
    return made


def write(path: Path, how: int, channels: int) -> None:
    pixels = PIXELS if channels == 3 else PIXELS[:, :, 0]
    if path.suffix == ".tif":
        samples = PIXELS[:, :, :channels]
        path.write_bytes(tiff(samples, 8, 2 if channels == 3 else 1, compression="lzw", tags={274: [how]}))
    else:
        Image.fromarray(pixels).save(path, exif=exif(how), quality=95)


def shown(path: Path, channels: int) -> np.ndarray:
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        return np.asarray(image).reshape(image.height, image.width, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_image_is_turned_as_pillow_turns_it(tmp_path, suffix, how, channels):
    path, plain = tmp_path / f"image{suffix}", tmp_path / f"plain{suffix}"
    write(path, how, channels)
    write(plain, 1, channels)
    expected = shown(path, channels)
    turned = read_image(path, channels, exif=True)
    np.testing.assert_array_equal(turned, expected)
    assert turned.flags.c_contiguous
    stored = read_image(path, channels)
    np.testing.assert_array_equal(stored, read_image(plain, channels, exif=True))
    assert stored.shape == (7, 13, channels)
    assert orientation(path) == how
    assert image_shape(path) == (7, 13)
    assert image_shape(path, exif=True) == expected.shape[:2] == ((7, 13) if how < 5 else (13, 7))


@pytest.mark.parametrize("how", ORIENTATIONS)
@pytest.mark.parametrize(
    "name", ["1 white is 0", "8 palette", "8 YCbCr", "16 black is 0", "16 RGB", "16 RGBA"]
)
def test_tiffs_of_every_decoder_are_turned_alike(tmp_path, name, how):
    kind = BY_NAME[name]
    samples, colour_map = kind.drawn()
    path, plain = tmp_path / "image.tif", tmp_path / "plain.tif"
    for file, value in ((path, how), (plain, 1)):
        tags = kind.tags(colour_map) | {274: [value]}
        file.write_bytes(tiff(samples, kind.bits, kind.photometric, tags=tags, order=">", segments="tiles"))
    stored = read_image(plain, 3)
    np.testing.assert_array_equal(read_image(path, 3), stored)
    expected = [ImageOps.exif_transpose(turnable(stored[:, :, k], how)) for k in range(3)]
    np.testing.assert_array_equal(read_image(path, 3, exif=True), np.stack(expected, axis=2))
    assert image_shape(path, exif=True) == expected[0].size[::-1]


def turnable(pixels: np.ndarray, how: int) -> Image.Image:
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = how
    return image


@pytest.mark.parametrize("how", ORIENTATIONS)
def test_a_mask_is_read_as_it_is_stored(tmp_path, how):
    for suffix in (".png", ".tif"):
        write(tmp_path / f"mask{suffix}", how, 1)
        np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), PIXELS[:, :, 0])


def test_a_png_may_say_it_behind_its_pixels_or_in_a_text(tmp_path):
    content, path = exif(6).tobytes().removeprefix(b"Exif\0\0"), tmp_path / "image.png"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    for chunks, how in (
        ({"after": [(b"eXIf", content)]}, 6),
        ({"chunks": [(b"eXIf", content)]}, 6),
        ({"chunks": [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)]}, 8),
        ({"chunks": [(b"tEXt", b"Title\0a part")]}, 1),
    ):
        path.write_bytes(png(PIXELS, 8, PNG_RGB, **chunks))
        assert orientation(path) == how
        np.testing.assert_array_equal(read_image(path, 3, exif=True), shown(path, 3))


def test_a_tiff_may_say_it_in_a_text(tmp_path):
    path = tmp_path / "image.tif"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(PIXELS).save(path, tiffinfo={700: xmp})
    assert orientation(path) == 6
    np.testing.assert_array_equal(read_image(path, 3), PIXELS)
    np.testing.assert_array_equal(read_image(path, 3, exif=True), shown(path, 3))


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, value):
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"image{suffix}"
        write(path, value, 3)
        assert orientation(path) == 1
        assert read_image(path, 3, exif=True).shape == (7, 13, 3)
        assert image_shape(path, exif=True) == (7, 13)


def test_what_cannot_be_read_has_no_shape_and_is_not_turned(tmp_path):
    for name, content in (("a.tif", b""), ("b.tif", b"II*\0"), ("c.png", b"\x89PNG"), ("d.jpg", b"\xff\xd8")):
        (tmp_path / name).write_bytes(content)
        assert image_shape(tmp_path / name, exif=True) is None
        assert orientation(tmp_path / name) == 1
    assert image_shape(tmp_path / "missing.png", exif=True) is None
    path = tmp_path / "vast.tif"
    path.write_bytes(tiff(PIXELS, 8, 2, tags={256: [60000], 257: [60000]}))
    assert image_shape(path) is None


def test_damaged_exif_is_no_error(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "image.png"
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=exif(6))
    content = exif(6).tobytes().removeprefix(b"Exif\0\0")
    for at in range(len(content)):
        for byte in (0, 255, int(rng.integers(256))):
            damaged = content[:at] + bytes([byte]) + content[at + 1 :]
            path.write_bytes(png(PIXELS[:, :, :1], 8, PNG_GREY, [(b"eXIf", damaged)]))
            assert orientation(path) in ORIENTATIONS
    path.write_bytes(png(PIXELS[:, :, :1], 8, PNG_GREY, [(b"eXIf", b"")]))
    assert orientation(path) == 1
