"""Images of every container, depth, colour and layout are read as another reader has them, or refused."""

import io
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from sbp.data.disk.decode import read_image
from sbp.errors import UserError
from tests.data.image_kinds import BY_NAME, PALETTE, SHAPE, eight_bits, layouts, most_off, outcome
from tests.data.image_writers import (
    PNG_GREY,
    PNG_GREY_ALPHA,
    PNG_PALETTE,
    PNG_RGB,
    PNG_RGBA,
    bmp,
    png,
    tiff,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("name", BY_NAME)
def test_every_tiff_is_read_rightly_or_refused(tmp_path, name, compression):
    kind, path = BY_NAME[name], tmp_path / "image.tif"
    samples, colour_map = kind.drawn()
    shown = kind.shown(samples, colour_map)
    expected = {channels: eight_bits(*shown, channels) for channels in (1, 3)}
    for layout in layouts(kind):
        how = {"number": kind.number, "tags": kind.tags(colour_map), **layout}
        if kind.bits in (1, 8, 16, 32):  # tifffile has neither the others nor LZW without another package
            plain = tifffile.imread(io.BytesIO(tiff(samples, kind.bits, kind.photometric, **how)))
            plain = np.moveaxis(plain, 0, -1) if layout["planes"] == 2 else plain
            np.testing.assert_array_equal(plain.reshape(samples.shape), samples)
        path.write_bytes(tiff(samples, kind.bits, kind.photometric, compression=compression, **how))
        must = kind.read and layout["fill"] == 1 and (layout["planes"] == 1 or kind.bits <= 8)
        for channels in (1, 3):
            image = outcome(lambda p, c=channels: read_image(p, c), path)
            if isinstance(image, str):
                assert not must, (image, layout)
                assert "; " in image or "is damaged" in image  # it says what to do
            else:
                assert most_off(image, expected[channels]) <= kind.off(channels), layout


def test_the_table_of_tiffs_holds_all_that_is_common():
    read = [kind for kind in BY_NAME.values() if kind.read]
    assert {kind.bits for kind in read} == {1, 2, 4, 8, 12, 16}
    assert {kind.photometric for kind in read} == {0, 1, 2, 3, 5, 6}


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_of_16_bits_is_not_what_lay_in_memory(tmp_path, channels):
    pixels = np.full((8, 8, 3), (15420, 10280, 51400), np.uint16)  # blue, green, red
    path = tmp_path / "image.tif"
    cv2.imencode(".tif", pixels)[1].tofile(path)
    expected = {1: [round(0.299 * 200 + 0.587 * 40 + 0.114 * 60)], 3: [200, 40, 60]}[channels]
    np.testing.assert_array_equal(read_image(path, channels), np.full((8, 8, channels), expected))


def test_white_of_packed_bits_is_in_their_own_numbers(tmp_path):
    samples = np.array([[[0], [1000], [2000], [4095]]], np.uint16)
    path = tmp_path / "image.tif"
    path.write_bytes(tiff(samples, 12, 1))
    assert read_image(path, 1).ravel().tolist() == [0, 62, 125, 255]
    assert read_image(path, 1, white_level=2000).ravel().tolist() == [0, 128, 255, 255]
    path.write_bytes(tiff(samples // 100, 12, 1))
    with pytest.raises(UserError, match=r"values up to 40 only; .* data\.white_level=255"):
        read_image(path, 1)


def test_a_palette_of_8_bits_and_a_tiff_of_64_are_read(tmp_path):
    kind = BY_NAME["8 palette"]
    samples, colour_map = kind.drawn()
    path = tmp_path / "image.tif"
    path.write_bytes(tiff(samples, 8, PALETTE, tags=kind.tags(colour_map // 256), big=True))
    np.testing.assert_array_equal(read_image(path, 3), colour_map[samples[:, :, 0]] // 256)


@pytest.mark.parametrize("name", ["4 palette", "16 RGBa"])
def test_a_damaged_header_is_an_array_or_one_line(tmp_path, name):
    kind, path = BY_NAME[name], tmp_path / "image.tif"
    samples, colour_map = kind.drawn()
    content = tiff(samples[:2, :3], kind.bits, kind.photometric, tags=kind.tags(colour_map))
    head = content.index(samples[:2, :3].tobytes()) + samples[:2, :3].nbytes if kind.bits >= 8 else 8
    for at, byte in product(range(head, min(len(content), head + 160)), (0, 255)):
        path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        outcome(lambda p: read_image(p, 3), path)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_a_tiff_that_was_cut_off_is_refused(tmp_path, mode):
    path = tmp_path / "image.tif"
    samples = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(samples).convert("L" if mode == "I;16" else mode).convert(mode).save(path)
    whole = path.read_bytes()
    assert int.from_bytes(whole[4:8], "little") == 8  # the header comes first, and stays
    path.write_bytes(whole[: -len(whole) // 4])
    with pytest.raises(UserError, match=r"image\.tif: is damaged"):
        read_image(path, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_in_a_tiff_is_read_as_opencv_has_it(tmp_path, channels):
    path = tmp_path / "image.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(path, compression="jpeg")
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE)
    assert most_off(read_image(path, channels), expected.reshape(*SHAPE, channels)) <= 1


# -- PNG

SRGB, GAMMA = (b"sRGB", b"\0"), (b"gAMA", (45455).to_bytes(4, "big"))
PNG_CHUNKS = {
    "plain": [],
    "srgb": [SRGB],
    "gamma": [GAMMA, (b"cHRM", bytes(32))],
    "bits": "sBIT",
    "key": "tRNS",
}
PNG_KINDS = [
    *((PNG_GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PNG_PALETTE, bits) for bits in (1, 2, 4, 8)),
    *product((PNG_RGB, PNG_GREY_ALPHA, PNG_RGBA), (8, 16)),
]
PNG_SAMPLES = {PNG_GREY: 1, PNG_RGB: 3, PNG_PALETTE: 1, PNG_GREY_ALPHA: 2, PNG_RGBA: 4}


def png_file(colour: int, bits: int, chunks: str, interlaced: bool) -> tuple[bytes, np.ndarray]:
    """The file, and what it shows in its own bits, palettes in 8: (H, W) or (H, W, 3)."""
    rng = np.random.default_rng(bits)
    samples = rng.integers(0, 2**bits, (*SHAPE, PNG_SAMPLES[colour]))
    samples = samples.astype(np.uint16 if bits == 16 else np.uint8)
    palette = rng.integers(0, 256, (2 ** min(bits, 8), 3)).astype(np.uint8)
    listed = PNG_CHUNKS[chunks]
    if listed == "sBIT":
        listed = [(b"sBIT", bytes([min(bits, 5)] * (3 if colour == PNG_PALETTE else PNG_SAMPLES[colour])))]
    if colour == PNG_PALETTE:
        listed = [*([] if listed == "tRNS" else listed), (b"PLTE", palette.tobytes())]
        listed += [(b"tRNS", bytes(range(len(palette))))] if chunks == "key" else []
    elif listed == "tRNS":
        listed = [(b"tRNS", samples[0, 0].astype(">u2").tobytes())] if colour in (PNG_GREY, PNG_RGB) else []
    content = png(samples, bits, colour, listed, interlaced=interlaced)
    if colour == PNG_PALETTE:
        return content, palette[samples[:, :, 0]]
    return content, samples[:, :, :3] if colour in (PNG_RGB, PNG_RGBA) else samples[:, :, 0]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("chunks", PNG_CHUNKS)
@pytest.mark.parametrize(("colour", "bits"), PNG_KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_png_is_read_rightly(tmp_path, colour, bits, chunks, interlaced, channels):
    content, shown = png_file(colour, bits, chunks, interlaced)
    path = tmp_path / "image.png"
    path.write_bytes(content)
    white = 255 if colour == PNG_PALETTE else 2**bits - 1
    with Image.open(path) as other:
        if bits <= 8:
            pixels = np.asarray(other.convert("L" if shown.ndim == 2 else "RGB"))
            np.testing.assert_array_equal(pixels, shown * (255 // white))
    image = outcome(lambda p: read_image(p, channels), path)
    assert most_off(image, eight_bits(shown, white, channels)) <= (0 if channels == 3 else 1)


def test_a_png_is_the_same_grey_whether_it_names_its_colour_space_or_not(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    read = []
    for chunks in ([], [SRGB], [GAMMA], [(b"tEXt", b"Title\0gAMA"), GAMMA, (b"pHYs", bytes(9))]):
        (tmp_path / "image.png").write_bytes(png(samples, 8, PNG_RGB, chunks))
        read.append(read_image(tmp_path / "image.png", 1).tobytes())
    assert len(set(read)) == 1


# -- BMP

RGBA_MASKS = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
BMP_FILES: dict[str, tuple[int, tuple[int, ...], int, bool]] = {
    **{
        f"{bits} bits {'up' if up else 'down'} {header}": (bits, (), header, up)
        for bits, header, up in product((1, 4, 8, 24, 32), (40, 124), (True, False))
    },
    **{f"{bits} bits OS/2": (bits, (), 12, True) for bits in (1, 4, 8, 24)},
    "16 bits": (16, (), 40, True),
    "16 bits 555": (16, (0x7C00, 0x3E0, 0x1F), 40, True),
    "16 bits 565": (16, (0xF800, 0x7E0, 0x1F), 40, True),
    "16 bits 444": (16, (0xF00, 0xF0, 0xF), 40, True),
    "32 bits RGBA 56": (32, RGBA_MASKS, 56, True),
    "32 bits RGBA 124": (32, RGBA_MASKS, 124, True),
    "32 bits BGRA": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108, True),
    "32 bits ABGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), 124, True),
    "32 bits 10 10 10": (32, (0x3FF00000, 0xFFC00, 0x3FF), 40, True),
}
"""Bits, masks, size of the header, whether the last row comes first."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BMP_FILES)
def test_every_bmp_is_read_rightly_or_refused(tmp_path, name, channels):
    bits, masks, header, upwards = BMP_FILES[name]
    rng = np.random.default_rng(bits)
    shape = (*SHAPE, max(1, bits // 8) if bits != 16 else 1)
    samples = rng.integers(0, 2 ** min(bits, 16 if bits == 16 else 8), shape)
    samples = samples.astype(np.uint16 if bits == 16 else np.uint8)
    palette = rng.integers(0, 256, (2**bits, 3)) if bits <= 8 else None
    path = tmp_path / "image.bmp"
    path.write_bytes(bmp(samples, bits, palette, masks, header=header, upwards=upwards))
    image = outcome(lambda p: read_image(p, channels), path)
    if isinstance(image, str):
        assert name in ("16 bits 444", "32 bits 10 10 10")
        return
    with Image.open(path) as other:
        shown = np.asarray(other.convert("RGB"))
    if palette is not None:
        np.testing.assert_array_equal(shown, palette[samples[:, :, 0]])
    assert most_off(image, eight_bits(shown, 255, channels)) <= (0 if channels == 3 else 1)


# -- JPEG

JPEGS = {
    "grey": ("L", {}),
    "grey progressive": ("L", {"progressive": True}),
    **{f"colour {s}": ("RGB", {"subsampling": s}) for s in ("4:4:4", "4:2:2", "4:2:0")},
    "colour progressive": ("RGB", {"progressive": True, "subsampling": "4:2:0"}),
    "RGB": ("RGB", {"keep_rgb": True}),
    "CMYK": ("CMYK", {}),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", JPEGS)
def test_every_jpeg_is_read_rightly(tmp_path, name, channels):
    mode, how = JPEGS[name]
    samples = np.random.default_rng(0).integers(0, 256, (*SHAPE, len(mode))).astype(np.uint8)
    path = tmp_path / "image.jpg"
    Image.fromarray(samples[:, :, 0] if mode == "L" else samples, mode).save(path, quality=90, **how)
    with Image.open(path) as other:
        if channels == 1 and mode != "CMYK":
            other.draft("L", other.size)  # the brightness that is in the file
        shown = np.asarray(other if other.mode == "L" else other.convert("RGB"))
    image = outcome(lambda p: read_image(p, channels), path)
    off = 2 if mode == "CMYK" else 1 if channels == 1 else 0  # OpenCV divides inks by 256
    assert most_off(image, eight_bits(shown, 255, channels)) <= off


def test_a_cmyk_jpeg_that_does_not_say_which_way_inks_count_is_refused(tmp_path):
    path = tmp_path / "image.jpg"
    Image.new("CMYK", (16, 16), (200, 10, 20, 30)).save(path)
    content = path.read_bytes()
    at = content.index(b"\xff\xee")
    path.write_bytes(content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :])
    with pytest.raises(UserError, match=r"image\.jpg: is a CMYK image .*; save it as RGB"):
        read_image(path, 3)
