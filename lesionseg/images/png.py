"""Write a mask as PNG, fast: rows without lesion are not compressed one by one.

A PNG holds its rows as one zlib stream (RFC 1950, 1951), each behind a byte that names its filter,
here none. Of a mask most rows are zeros; a million of those are packed once and repeated.
"""

import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = 0  # the colour type
_STREAM = b"\x78\x01"  # of zlib, packed fast
_PIECE = 2**20  # zeros
_ADLER = 65521


def mask_png(mask: NDArray[np.bool_], *, one_bit: bool = False) -> bytes:
    """Encode a mask (H, W) bool as a PNG: one channel, 0/255 or of one bit, no metadata."""
    height, width = mask.shape
    lesion = np.flatnonzero(mask.any(axis=1))
    first, last = (int(lesion[0]), int(lesion[-1]) + 1) if lesion.size else (height, height)
    inside = mask[first:last]
    rows = np.zeros((last - first, 1 + ((width + 7) // 8 if one_bit else width)), np.uint8)
    if one_bit:
        rows[:, 1:] = np.packbits(inside, axis=1)
    else:
        np.multiply(inside.view(np.uint8), 255, out=rows[:, 1:])
    stream = _stream(first * rows.shape[1], rows, (height - last) * rows.shape[1])
    header = struct.pack(">IIBBBBB", width, height, 1 if one_bit else 8, _GREY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _stream(above: int, rows: NDArray[np.uint8], below: int) -> bytes:
    """Pack zeros, rows and zeros again as a zlib stream."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    pieces = (above // _PIECE, below // _PIECE)
    parts = [
        _STREAM,
        _zeros() * pieces[0],
        packer.compress(bytes(above % _PIECE)),
        packer.compress(rows.data),
        packer.compress(bytes(below % _PIECE)),
        packer.flush(zlib.Z_FULL_FLUSH),
        _zeros() * pieces[1],
        packer.flush(),
    ]
    checksum = _after_zeros(zlib.adler32(rows.data, _after_zeros(1, above)), below)
    return b"".join(parts) + struct.pack(">I", checksum)


@cache
def _zeros() -> bytes:
    """Pack a million zeros; blocks that end with a byte and are independent."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(_PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)


def _after_zeros(adler: int, count: int) -> int:
    """Return the Adler-32 checksum after this many further zeros."""
    low, high = adler & 0xFFFF, adler >> 16
    return (high + count * low) % _ADLER << 16 | low


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
