"""What the header of a TIFF says of its first page, and where it says so."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 259, 262, 274, 277
PLANES, COLOUR_MAP, INK_SET, EXTRA, FORMAT = 284, 320, 332, 338, 339
_FIRST = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES}
_TAGS = _FIRST | {PLANES, COLOUR_MAP, INK_SET, EXTRA, FORMAT}
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""TIFF's types of whole numbers, as struct has them."""
_MOST_NUMBERS = 3 * 2**16
"""Of a tag: a palette of 16 bits."""
_MOST_TAGS = 4096
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, _, CMYK = range(6)
UNSIGNED, SIGNED, REAL = 1, 2, 3
_JPEG = (6, 7)
PACKED = (10, 12, 14)
"""Bits of pixels that are stored without gaps; OpenCV scales them to 16."""


@dataclass(frozen=True)
class Layout:
    """How the pixels of a TIFF's first page lie in it. tags: their whole numbers; places: of each tag, where
    in the file, and as what struct packs them."""

    tags: dict[int, tuple[int, ...]]
    places: dict[int, tuple[int, str]]

    def first(self, tag: int, otherwise: int = 1) -> int:
        return self.tags.get(tag, (otherwise,))[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width as it is stored."""
        return self.first(HEIGHT, 0), self.first(WIDTH, 0)

    @property
    def bits(self) -> int:
        """Of each channel; 0 if they differ."""
        bits = set(self.tags.get(BITS, (1,)))
        return bits.pop() if len(bits) == 1 else 0

    @property
    def white(self) -> float:
        """What white is if nobody says it: 65535, and for packed pixels what OpenCV scales to that."""
        return 65535 / (1 << 16 - self.bits) if self.bits in PACKED else 65535

    @property
    def is_jpeg(self) -> bool:
        return self.first(COMPRESSION) in _JPEG

    @property
    def is_known(self) -> bool:
        """Whether all channels are of one type, whole or real numbers, and inks those of print."""
        inks = self.first(PHOTOMETRIC) != CMYK or self.first(INK_SET) == 1
        return inks and self.bits > 0 and set(self.tags.get(FORMAT, (1,))) in ({UNSIGNED}, {SIGNED}, {REAL})

    def __str__(self) -> str:
        planes = " in separate planes" if self.first(PLANES) == 2 else ""
        kind = f"photometric interpretation {self.first(PHOTOMETRIC, 0)}"
        return f"{self.first(SAMPLES)} channels of {self.bits or 'different'} bits{planes}, {kind}"


def header(path: Path) -> Layout | None:
    """The layout of a TIFF; None for another file, or if it cannot be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return layout(data)
    except (OSError, ValueError):  # there is none, or it is empty
        return None


def layout(data: memoryview | mmap.mmap) -> Layout | None:
    """What the header of the file with these bytes says; None if that cannot be read."""
    try:
        return _layout(data)
    except (KeyError, struct.error, OverflowError):
        return None


def _layout(data: memoryview | mmap.mmap) -> Layout:
    order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]

    def read(code: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(order + code, data, at)

    big = {42: False, 43: True}[read("H", 2)[0]]
    (at,) = read("Q", 8) if big else read("I", 4)
    (count,) = read("Q" if big else "H", at)
    at += 8 if big else 2
    word, size, step = ("Q", 8, 20) if big else ("I", 4, 12)
    tags, places = {}, {}
    for entry in range(at, at + min(count, _MOST_TAGS) * step, step):
        tag, kind, number = read("HH" + word, entry)
        if tag in _TAGS and kind in _NUMBERS and 0 < number <= _MOST_NUMBERS:
            code, place = f"{number}{_NUMBERS[kind]}", entry + 4 + size
            if struct.calcsize(order + code) > size:
                (place,) = read(word, place)
            tags[tag], places[tag] = read(code, place), (place, order + code)
    return Layout(tags, places)
