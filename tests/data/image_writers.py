"""Image files of every kind that a format allows, written byte by byte: no library writes them all."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

TIFF_COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}
TIFF_TILE, TIFF_STRIP = 16, 5
"""Sides of a tile, rows of a strip."""
PNG_GREY, PNG_RGB, PNG_PALETTE, PNG_GREY_ALPHA, PNG_RGBA = 0, 2, 3, 4, 6
SHORT, LONG = 3, 4


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """(H, W, C) with `bits` of each sample, rows filled up to bytes; order: < or >, of the bytes."""
    if bits in (8, 16, 32, 64):
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    rows = samples.reshape(len(samples), -1)
    spread = rows[:, :, None] >> np.arange(bits)[::-1] & 1
    return np.packbits(spread.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def _lzw(data: bytes) -> bytes:
    """As LZW without a table: every 250 bytes it begins anew, so that all codes have 9 bits."""
    codes = [code for at in range(0, len(data), 250) for code in (256, *data[at : at + 250])] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _packbits(data: bytes) -> bytes:
    parts = (data[at : at + 128] for at in range(0, len(data), 128))
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


_COMPRESS = {"none": bytes, "lzw": _lzw, "deflate": zlib.compress, "packbits": _packbits}


def _segments(plane: np.ndarray, segments: str) -> list[np.ndarray]:
    """The plane as one strip, as several, or as tiles, filled up."""
    height, width = plane.shape[:2]
    if segments == "tiles":
        filled = np.pad(plane, [(0, -height % TIFF_TILE), (0, -width % TIFF_TILE), (0, 0)])
        starts = [(y, x) for y in range(0, height, TIFF_TILE) for x in range(0, width, TIFF_TILE)]
        return [filled[y : y + TIFF_TILE, x : x + TIFF_TILE] for y, x in starts]
    rows = TIFF_STRIP if segments == "strips" else height
    return [plane[y : y + rows] for y in range(0, height, rows)]


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planes: int = 1,
    compression: str = "none",
    segments: str = "one",
    fill: int = 1,
    number: int = 1,
    big: bool = False,
    tags: dict[int, Sequence[int]] | None = None,
) -> bytes:
    """A TIFF of (H, W, C). planes: 1 in one piece, 2 apart; segments: one, strips, tiles; fill: 1 or 2, of
    bits in a byte; number: 1 unsigned, 2 signed, 3 real; big: with places of 64 bits; tags: others, of 16."""
    height, width, channels = samples.shape
    apart = [samples[:, :, k : k + 1] for k in range(channels)] if planes == 2 else [samples]
    parts = [_COMPRESS[compression](packed(s, bits, order)) for p in apart for s in _segments(p, segments)]
    if fill == 2:
        parts = [np.packbits(_bits(part)[:, ::-1]).tobytes() for part in parts]
    start = 16 if big else 8
    ends = np.cumsum([start] + [len(part) for part in parts]).tolist()
    entries = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * channels)}
    entries |= {259: (SHORT, [TIFF_COMPRESSIONS[compression]]), 262: (SHORT, [photometric])}
    entries |= {277: (SHORT, [channels]), 284: (SHORT, [planes]), 339: (SHORT, [number] * channels)}
    places, sizes = (LONG, ends[:-1]), (LONG, [len(part) for part in parts])
    if segments == "tiles":
        entries |= {322: (LONG, [TIFF_TILE]), 323: (LONG, [TIFF_TILE]), 324: places, 325: sizes}
    else:
        entries |= {278: (LONG, [TIFF_STRIP if segments == "strips" else height]), 273: places, 279: sizes}
    entries |= {266: (SHORT, [fill])} | {tag: (SHORT, list(v)) for tag, v in (tags or {}).items()}
    magic = {"<": b"II", ">": b"MM"}[order]
    head = struct.pack(order + "HHHQ", 43, 8, 0, ends[-1]) if big else struct.pack(order + "HI", 42, ends[-1])
    return magic + head + b"".join(parts) + _directory(entries, ends[-1], order, big)


def _bits(data: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)


def _directory(entries: dict[int, tuple[int, list[int]]], at: int, order: str, big: bool) -> bytes:
    """The tags, sorted, and behind them what does not fit into them."""
    count, word, size = ("Q", "Q", 8) if big else ("H", "I", 4)
    behind = at + struct.calcsize(order + count + word) + len(entries) * (4 + 2 * size)
    listed, rest = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        listed += struct.pack(order + "HH" + word, tag, kind, len(values))
        if len(content) > size:
            content, rest = struct.pack(order + word, behind + len(rest)), rest + content
        listed += content.ljust(size, b"\0")
    return struct.pack(order + count, len(entries)) + listed + struct.pack(order + word, 0) + rest


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    samples: np.ndarray,
    bits: int,
    colour: int,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    *,
    interlaced: bool = False,
    after: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG of (H, W, C); chunks: before the pixels, after: behind them."""
    height, width = samples.shape[:2]
    whole = [(0, 0, 1, 1)]
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in (adam7 if interlaced else whole)]
    rows = b"".join(b"\0" + packed(row[None], bits, ">") for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def bmp(
    samples: np.ndarray,
    bits: int,
    palette: np.ndarray | None = None,
    masks: Sequence[int] = (),
    *,
    header: int = 40,
    upwards: bool = True,
) -> bytes:
    """A BMP of (H, W, C): indices, 16 bits in one number, BGR or BGRA. palette: (N, 3) RGB; masks: of the
    channels in a pixel; header: its size, 12 for OS/2; upwards: whether the last row comes first."""
    height, width = samples.shape[:2]
    lines = [packed(row[None], bits if bits < 8 else samples.itemsize * 8, "<") for row in samples]
    lines = [line + bytes(-len(line) % 4) for line in lines]
    rows = b"".join(lines[::-1] if upwards else lines)
    listed = np.zeros((0, 3), np.uint8) if palette is None else palette[:, ::-1].astype(np.uint8)
    colours = (listed if header == 12 else np.pad(listed, [(0, 0), (0, 1)])).tobytes()
    if header == 12:
        about = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        about = struct.pack(
            "<IiiHHII", header, width, height if upwards else -height, 1, bits, 3 * bool(masks), 0
        )
        about += struct.pack("<iiII", 0, 0, len(listed), 0)
        about = (about + struct.pack(f"<{len(masks)}I", *masks)).ljust(header, b"\0")
    start = 14 + len(about) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + about + colours + rows
