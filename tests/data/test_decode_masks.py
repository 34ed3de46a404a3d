"""Masks hold the values that are in their files, colour masks the colours; what would be lost is refused."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from sbp.data.disk.decode import read_colours, read_mask
from sbp.errors import UserError
from tests.data.image_kinds import BY_NAME, PALETTE, SHAPE, Kind, eight_bits, layouts, outcome
from tests.data.image_writers import PNG_GREY, PNG_GREY_ALPHA, PNG_PALETTE, PNG_RGB, PNG_RGBA, bmp, png, tiff


def mask_values(kind: Kind, samples: np.ndarray, colour_map: np.ndarray) -> np.ndarray:
    """(H, W): palette indices; other values of up to 8 bits as they are shown, deeper ones as they are."""
    if kind.photometric == PALETTE:
        return samples[:, :, 0]
    values, white = kind.shown(samples, colour_map)
    values = eight_bits(values, white, 3) if kind.bits < 8 else values.round()
    return values if values.ndim == 2 else values[:, :, 0]


def packed(colours: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(np.broadcast_to(colours, (*SHAPE, 3)).astype(int), 2, 0)
    return red << 16 | green << 8 | blue


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("name", BY_NAME)
def test_every_tiff_is_a_mask_of_its_values_or_refused(tmp_path, name, alike):
    kind, path = BY_NAME[name], tmp_path / "mask.tif"
    samples, colour_map = kind.drawn(alike=alike)
    for layout in layouts(kind):
        how = {"number": kind.number, "tags": kind.tags(colour_map), **layout}
        path.write_bytes(tiff(samples, kind.bits, kind.photometric, compression="deflate", **how))
        if kind.bits in (1, 8, 16, 32):
            plain = tifffile.imread(path)
            plain = np.moveaxis(plain, 0, -1) if layout["planes"] == 2 else plain
            np.testing.assert_array_equal(plain.reshape(samples.shape), samples)
        mask = outcome(read_mask, path)
        if isinstance(mask, str):
            must = kind.read and (alike or kind.samples == 1) and kind.photometric not in (5, 6)
            assert not must or layout["fill"] == 2 or (layout["planes"] == 2 and kind.bits > 8), (
                mask,
                layout,
            )
        else:
            assert alike or kind.colours == 1
            np.testing.assert_array_equal(mask, mask_values(kind, samples, colour_map))


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("name", BY_NAME)
def test_every_tiff_has_its_colours_or_is_refused(tmp_path, name, alike):
    kind, path = BY_NAME[name], tmp_path / "mask.tif"
    samples, colour_map = kind.drawn(alike=alike)
    for layout in layouts(kind):
        how = {"number": kind.number, "tags": kind.tags(colour_map), **layout}
        path.write_bytes(tiff(samples, kind.bits, kind.photometric, **how))
        colours = outcome(read_colours, path)
        if isinstance(colours, str):
            opaque = alike or kind.samples == kind.colours
            assert not (kind.read and kind.bits <= 8 and opaque) or layout["fill"] == 2, (colours, layout)
        else:
            assert kind.bits <= 8
            assert colours.dtype == np.uint32
            expected = eight_bits(*kind.shown(samples, colour_map), 3)
            channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=2).astype(int)
            assert np.abs(channels - expected).max() <= kind.off(3)


PNG_MASKS = [
    *((PNG_GREY, bits, 1) for bits in (1, 2, 4, 8, 16)),
    *((PNG_PALETTE, bits, 1) for bits in (1, 2, 4, 8)),
    *(
        (colour, bits, n)
        for colour, n in ((PNG_RGB, 3), (PNG_GREY_ALPHA, 2), (PNG_RGBA, 4))
        for bits in (8, 16)
    ),
]


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize(("colour", "bits", "channels"), PNG_MASKS)
def test_every_png_is_a_mask_of_its_values_or_refused(tmp_path, colour, bits, channels, alike):
    rng, path = np.random.default_rng(bits), tmp_path / "mask.png"
    samples = rng.integers(0, 2**bits, (*SHAPE, channels)).astype(np.uint16 if bits == 16 else np.uint8)
    palette = rng.integers(0, 256, (2 ** min(bits, 8), 3)).astype(np.uint8)
    if alike:
        samples[:, :, 1:3] = samples[:, :, :1]
        if channels in (2, 4):
            samples[:, :, -1] = 77
    path.write_bytes(
        png(samples, bits, colour, [(b"PLTE", palette.tobytes())] if colour == PNG_PALETTE else [])
    )
    mask, colours = outcome(read_mask, path), outcome(read_colours, path)
    scale = 1 if bits >= 8 else 255 // (2**bits - 1)
    grey = samples[:, :, 0] if colour == PNG_PALETTE else samples[:, :, 0] * scale
    if alike or channels == 1:
        np.testing.assert_array_equal(mask, grey)
    else:
        assert mask.startswith(f"{path}: ")
    if bits == 16:
        assert "8 bits a channel" in colours or "transparency" in colours
    elif channels in (2, 4) and not alike:
        assert "transparency" in colours
    else:
        with Image.open(path) as other:
            np.testing.assert_array_equal(colours, packed(np.asarray(other.convert("RGB"))))


def saved(path, pixels: np.ndarray, mode: str | None = None, **how):
    Image.fromarray(pixels, mode).save(path, **how)
    return path


def test_a_colour_image_says_how_its_colours_become_defects(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 5:] = (255, 0, 0)
    path = saved(tmp_path / "mask.png", pixels)
    with pytest.raises(UserError) as error:
        read_mask(path)
    assert str(error.value) == (
        f"{path}: is a colour image (#000000, #ff0000): say what its colours mean with "
        "data.colours={DEFECT: '#ff0000'}"
    )
    for k, colour in enumerate([(0, 255, 0), (0, 0, 255), (9, 9, 9), (8, 8, 8)]):
        pixels[: 5 - k, k] = colour
    with pytest.raises(UserError, match=r"\(#000000, #ff0000, #00ff00, #0000ff\): "):
        read_mask(saved(tmp_path / "mask.png", pixels))


def test_colours_of_a_jpeg_are_refused_and_its_grey_is_a_mask(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = (255, 0, 0)
    line = r"mask\.jpg: JPEG changes colours; save masks as PNG"
    for read in (read_colours, read_mask):
        with pytest.raises(UserError, match=line):
            read(saved(tmp_path / "mask.jpg", pixels))
        with pytest.raises(UserError, match=line.replace("jpg", "tif")):
            read(saved(tmp_path / "mask.tif", pixels, compression="jpeg"))
    grey = saved(tmp_path / "mask.jpg", pixels[:, :, 0])
    assert read_mask(grey).max() > 200
    with pytest.raises(UserError, match=line):
        read_colours(grey)


def test_colours_of_a_palette_with_transparency_are_refused_where_it_differs(tmp_path):
    path = tmp_path / "mask.png"
    image = Image.fromarray(np.eye(8, dtype=np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 128, 0])
    image.save(path)
    assert np.unique(read_colours(path)).tolist() == [0, 0xFF8000]
    image.save(path, transparency=0)
    with pytest.raises(UserError, match="holds the mask in its transparency"):
        read_colours(path)
    np.testing.assert_array_equal(read_mask(path), np.eye(8))


def test_small_values_of_16_bits_saved_as_colour_are_not_lost(tmp_path):
    labels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"mask{suffix}"
        cv2.imencode(suffix, np.repeat(labels[:, :, None], 3, axis=2))[1].tofile(path)
        np.testing.assert_array_equal(read_mask(path), labels)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_is_a_mask_as_pillow_has_it(tmp_path, bits):
    pixels = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8) * 255
    path = saved(tmp_path / "mask.bmp", pixels) if bits == 8 else tmp_path / "mask.bmp"
    if bits == 1:
        Image.fromarray(pixels).convert("1").save(path)
    if bits == 4:
        ramp = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[:, None], 3, axis=1)
        path.write_bytes(bmp(pixels[:, :, None] // 17, 4, ramp))
        pixels //= 17  # indices
    np.testing.assert_array_equal(read_mask(path), pixels)


def test_masks_are_writable_and_inks_are_no_transparency(tmp_path):
    path = saved(tmp_path / "mask.png", np.zeros((4, 4), np.uint8))
    assert read_mask(path).flags.writeable
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype(np.uint8)
    with pytest.raises(UserError, match=r"mask\.tif: is a colour image \(#"):
        read_mask(saved(tmp_path / "mask.tif", pixels, "CMYK"))
    buffer = io.BytesIO()
    Image.fromarray(pixels, "CMYK").save(buffer, "JPEG")
    (tmp_path / "mask.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"mask\.jpg: JPEG changes colours"):
        read_mask(tmp_path / "mask.jpg")
