"""Lists of names, as any system writes them: one a line, or ended by NUL (`find -print0`)."""

import codecs
import os
import re
from pathlib import Path
from typing import BinaryIO

from lesionseg.errors import LesionsegError, amount, one_line

_LARGEST = 64 * 1024**2  # bytes; of names of 100 characters, 650,000
_BYTE_ORDER_MARKS = (  # UTF-32 first: the mark of UTF-16 is a part of its own
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096  # bytes that tell what a file is
# How photos, archives and PDFs begin; and what no name holds.
_NOT_A_LIST = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|BM....\0\0\0\0|....ftyp"
    rb"|PK\x03\x04|%PDF|.{128}DICM",
    re.DOTALL,
)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f\x7f]")


def read_names(source: Path | BinaryIO) -> list[str]:
    """Read the names in a list, in its order, without empty ones.

    UTF-8, with or without a byte order mark, UTF-16 and UTF-32 (as PowerShell writes them) are
    read; bytes that are not text stay as `os.fsdecode` leaves them. Where there is a NUL, names
    end with one, and may hold line breaks.

    Args:
        source: a file, or an open one such as standard input.

    Raises:
        LesionsegError: it cannot be read, is too large, or no list.
    """
    name = source if isinstance(source, Path) else "standard input"
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                data = file.read(_LARGEST + 1)
        else:
            data = source.read(_LARGEST + 1)
    except OSError as error:
        raise LesionsegError(f"cannot read {name}: {error.strerror or error}") from error
    if len(data) > _LARGEST:
        raise LesionsegError(
            f"{name}: over {amount(_LARGEST)}: expected a list of names, one per line"
        )
    try:
        data = _without_wide_characters(data)
    except UnicodeDecodeError as error:
        raise LesionsegError(f"{name}: cannot read this list: {one_line(error)}") from error
    sample = data[:_SAMPLE]
    if _NOT_A_LIST.match(sample) or len(_CONTROL.findall(sample)) > len(sample) // 50:
        raise LesionsegError(
            f"{name}: expected a list of names, one per line, got a photo or another binary file"
        )
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


def _without_wide_characters(data: bytes) -> bytes:
    """Return the bytes of a list as UTF-8, or as they are where nothing says what they are."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            if encoding == "utf-8":
                return data[len(mark) :]
            return data.decode(encoding).encode("utf-8", "surrogatepass")
    sample = data[:_SAMPLE]
    for encoding, zeros, others in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        if len(zeros) > 2 and not zeros.strip(b"\0") and b"\0" not in others:
            return data.decode(encoding).encode("utf-8", "surrogatepass")
    return data
