"""Kinds of TIFF and PNG, with what their samples show by the formats' own definitions."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from sbp.errors import UserError

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOUR_MAP, EXTRA, SUBSAMPLING = 320, 338, 530
SHAPE = (19, 37)
"""Odd, so that rows end within a byte, and strips and tiles at the edge are not full."""
CHANNELS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}


@dataclass(frozen=True)
class Kind:
    """bits: per sample; extra: what samples beyond the colours are said to be, None: nothing is said though
    there is one; number: 1 unsigned, 2 signed, 3 real; read: whether it must be read, and not only may."""

    name: str
    bits: int
    photometric: int
    extra: tuple[int, ...] | None = ()
    number: int = 1
    read: bool = True

    @property
    def white(self) -> int:
        return 2**self.bits - 1

    @property
    def colours(self) -> int:
        """Samples that are no transparency."""
        return CHANNELS[self.photometric]

    @property
    def samples(self) -> int:
        return self.colours + (1 if self.extra is None else len(self.extra))

    def off(self, channels: int) -> int:
        """By how much readers may differ: in rounding grey, and other colours; OpenCV's white of packed
        pixels is 65535."""
        return int(channels == 1 or self.photometric in (CMYK, YCBCR) or self.bits == 12)

    def tags(self, colour_map: np.ndarray) -> dict:
        tags = {EXTRA: self.extra} if self.extra else {}
        if self.photometric == PALETTE:
            tags[COLOUR_MAP] = colour_map.T.reshape(-1).tolist()
        return tags | ({SUBSAMPLING: (1, 1)} if self.photometric == YCBCR else {})

    def drawn(self, seed: int = 0, alike: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Random samples (H, W, C) and a colour map (N, 3) of 16 bits. alike: colours equal, transparency
        the same everywhere."""
        rng = np.random.default_rng(seed)
        shape = (*SHAPE, self.samples)
        dtype = {8: np.uint8, 16: np.uint16, 32: np.uint32}[max(8, 1 << (self.bits - 1).bit_length())]
        samples = rng.integers(0, 101 if self.number == 3 else self.white + 1, shape).astype(dtype)
        if alike:
            samples[:, :, 1 : self.colours] = samples[:, :, :1]
            samples[:, :, self.colours :] = self.white // 2
        if self.number != 1:
            samples = samples.astype(np.float32) if self.number == 3 else samples.view(f"i{dtype().itemsize}")
        return samples, rng.integers(0, 65536, (1 << min(self.bits, 8), 3))

    def shown(self, samples: np.ndarray, colour_map: np.ndarray) -> tuple[np.ndarray, int]:
        """What the samples show, (H, W) or (H, W, 3) real numbers, and what white is."""
        values = samples.astype(np.float64)[:, :, : self.colours]
        if self.photometric == PALETTE:
            return colour_map[samples[:, :, 0]] // 256, 255
        if self.photometric == WHITE_IS_0:
            return self.white - values[:, :, 0], self.white
        if self.photometric == CMYK:
            ink = self.white - values
            return ink[:, :, :3] * ink[:, :, 3:] / self.white, self.white
        if self.photometric == YCBCR:
            y, blue, red = np.moveaxis(values - [0, 128, 128], 2, 0)
            rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=2)
            return rgb.clip(0, 255), 255
        return (values[:, :, 0] if self.colours == 1 else values), self.white


KINDS = [
    Kind("1 white is 0", 1, WHITE_IS_0),
    Kind("1 black is 0", 1, BLACK_IS_0),
    Kind("1 palette", 1, PALETTE),
    Kind("2 black is 0", 2, BLACK_IS_0),
    Kind("4 white is 0", 4, WHITE_IS_0),
    Kind("4 black is 0", 4, BLACK_IS_0),
    Kind("4 palette", 4, PALETTE),
    Kind("4 RGB", 4, RGB, read=False),
    Kind("8 white is 0", 8, WHITE_IS_0),
    Kind("8 black is 0", 8, BLACK_IS_0),
    Kind("8 grey X", 8, BLACK_IS_0, (0,)),
    Kind("8 grey a", 8, BLACK_IS_0, (1,)),
    Kind("8 grey A", 8, BLACK_IS_0, (2,)),
    Kind("8 white is 0 A", 8, WHITE_IS_0, (2,), read=False),
    Kind("8 palette", 8, PALETTE),
    Kind("8 palette A", 8, PALETTE, (2,)),
    Kind("8 RGB", 8, RGB),
    Kind("8 RGB and another", 8, RGB, None, read=False),
    Kind("8 RGBX", 8, RGB, (0,)),
    Kind("8 RGBa", 8, RGB, (1,)),
    Kind("8 RGBA", 8, RGB, (2,)),
    Kind("8 RGBAX", 8, RGB, (2, 0), read=False),
    Kind("8 CMYK", 8, CMYK),
    Kind("8 CMYKA", 8, CMYK, (2,), read=False),
    Kind("8 YCbCr", 8, YCBCR),
    Kind("8 Lab", 8, LAB, read=False),
    Kind("8 signed", 8, BLACK_IS_0, number=2, read=False),
    Kind("8 RGB signed", 8, RGB, number=2, read=False),
    Kind("12 black is 0", 12, BLACK_IS_0),
    Kind("16 white is 0", 16, WHITE_IS_0),
    Kind("16 black is 0", 16, BLACK_IS_0),
    Kind("16 grey A", 16, BLACK_IS_0, (2,), read=False),
    Kind("16 RGB", 16, RGB),
    Kind("16 RGB and another", 16, RGB, None),
    Kind("16 RGBX", 16, RGB, (0,)),
    Kind("16 RGBa", 16, RGB, (1,)),
    Kind("16 RGBA", 16, RGB, (2,)),
    Kind("16 CMYK", 16, CMYK, read=False),
    Kind("16 signed", 16, BLACK_IS_0, number=2, read=False),
    Kind("32 whole", 32, BLACK_IS_0, read=False),
    Kind("32 real", 32, BLACK_IS_0, number=3, read=False),
    Kind("32 RGB real", 32, RGB, number=3, read=False),
]
BY_NAME = {kind.name: kind for kind in KINDS}


def layouts(kind: Kind) -> list[dict]:
    """Every way in which the samples of a kind may lie in a file."""
    planes = (1, 2) if kind.samples > 1 else (1,)
    ways = product("<>", planes, ("one", "strips", "tiles"), (1, 2))
    return [dict(zip(("order", "planes", "segments", "fill"), way, strict=True)) for way in ways]


def outcome(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | str:
    """What the file is read as, or the line that refuses it, which must name it; twice the same."""
    first, second = _read(read, path), _read(read, path)
    assert type(first) is type(second)
    if isinstance(first, str):
        assert first == second
        assert first.startswith(f"{path}: ")
        assert "\n" not in first
    else:
        assert (first.dtype, first.tobytes()) == (second.dtype, second.tobytes())
    return first


def _read(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | str:
    try:
        return read(path)
    except UserError as error:
        return str(error)


def most_off(read: np.ndarray, expected: np.ndarray) -> float:
    assert read.shape == expected.shape
    return float(np.abs(read.astype(np.float64) - expected).max())


def eight_bits(values: np.ndarray, white: int, channels: int) -> np.ndarray:
    """(H, W, channels) from 0 to 255 of what is shown."""
    values = values * (255 / white)
    if values.ndim == 3 and channels == 1:
        values = values @ [0.299, 0.587, 0.114]
    values = values.round()
    return np.repeat(values[:, :, None], channels, axis=2) if values.ndim == 2 else values
