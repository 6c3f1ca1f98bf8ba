"""Lists of names, as any system writes them: one a line, or ended by NUL (`find -print0`)."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lesionseg.errors import LesionsegError, amount, fault_of_text

_LARGEST = 64 * 1024**2  # bytes; of names of 100 characters, 650,000
_BYTE_ORDER_MARKS = (  # UTF-32 first: the mark of UTF-16 is a part of its own
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FIRST_OF_MARKS = frozenset(mark[:1] for mark, _ in _BYTE_ORDER_MARKS)
_LONGEST_MARK = max(len(mark) for mark, _ in _BYTE_ORDER_MARKS)
_SAMPLE = 4096  # bytes that tell what a file is
_CHUNK = 65536  # bytes that are read at a time of a stream: as much as a pipe holds
_LARGEST_NAMELESS = 1_000_000  # bytes of a stream without a name, after which it is no list
# How photos, archives and PDFs begin; and what no name holds.
_NOT_A_LIST = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|BM....\0\0\0\0|....ftyp"
    rb"|PK\x03\x04|%PDF|.{128}DICM",
    re.DOTALL,
)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f\x7f]")


def read_names(source: Path | BinaryIO, *, null: bool = False) -> list[str]:
    """Read the names in a list, in its order, without empty ones.

    UTF-8, with or without a byte order mark, UTF-16 and UTF-32 (as PowerShell writes them) are
    read; bytes that are not text stay as `os.fsdecode` leaves them. Where there is a NUL, names
    end with one, and may hold line breaks.

    Args:
        source: a file, or an open one such as standard input.
        null: names end with NUL, whether or not there is one.

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
        encoding, mark = _encoding(data, guess=not null)
        data = data[len(mark) :]
        if encoding != "utf-8":
            data = data.decode(encoding).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise _unreadable(name, error) from error
    _refuse_binary(data, name)
    return _names(_split(data, null or b"\0" in data))


def stream_names(source: Path | int, *, null: bool = False) -> Iterator[list[str]]:
    """Read names from a pipe as they come: each time the names that are there, at least one.

    No name waits for the next one. What a name may be is as for `read_names`; what ends names is
    decided by what comes first. Memory does not grow with their number.

    Args:
        source: the pipe, or its descriptor, such as that of standard input.
        null: as for `read_names`.

    Raises:
        LesionsegError: it cannot be read, or is no list.
    """
    name = source if isinstance(source, Path) else "standard input"
    stream = _Stream(name, null)
    try:
        is_open = isinstance(source, int)
        with open(source, "rb", buffering=0, closefd=not is_open) as pipe:
            while data := pipe.read(_CHUNK):  # as soon as there is any
                if names := stream.feed(data):
                    yield names
        if names := stream.end():
            yield names
    except OSError as error:
        raise LesionsegError(f"cannot read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(name, error) from error


class _Stream:
    """The names in the bytes of a list that come piece by piece."""

    def __init__(self, name: object, null: bool) -> None:
        self._name, self._null = name, null
        self._begun = False
        self._decoder: codecs.IncrementalDecoder | None = None  # to text, where it is not UTF-8
        self._ends_with_nul = null
        self._rest = b""  # of a name whose end has not come
        self._nameless = 0  # bytes since the last name

    def feed(self, data: bytes) -> list[str]:
        """Return the names that end in the next bytes."""
        self._nameless += len(data)
        if self._nameless > _LARGEST_NAMELESS:
            raise LesionsegError(
                f"{self._name}: expected a list of names, got {amount(self._nameless)} without one"
            )
        text = self._decode(data)
        if self._begun and not self._ends_with_nul and b"\0" in text:
            raise LesionsegError(
                f"{self._name}: a NUL in a list of one name per line; for names that end with "
                "NUL, as from find -print0, add --null"
            )
        self._rest += text
        if not self._begun and not self._begin():
            return []
        *pieces, self._rest = _split(self._rest, self._ends_with_nul)
        if names := _names(pieces):
            self._nameless = 0
        return names

    def end(self) -> list[str]:
        """Return the last name, where it has no end."""
        if not self._begun:
            self._begin(at_end=True)
        rest = self._rest + self._decode(b"", final=True)
        return _names(_split(rest, self._ends_with_nul))

    def _begin(self, at_end: bool = False) -> bool:
        """Decide by the first bytes what the list is, as soon as they hold a name."""
        start = self._rest
        if not at_end:
            may_be_mark = start[:1] in _FIRST_OF_MARKS and len(start) < _LONGEST_MARK
            if may_be_mark or (len(start) < _SAMPLE and not re.search(rb"[\r\n\0]", start)):
                return False
        self._begun = True
        encoding, mark = _encoding(start, guess=not self._null)
        self._rest = start[len(mark) :]
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)()
            self._rest = self._decode(self._rest)
        _refuse_binary(self._rest, self._name)
        self._ends_with_nul = self._null or b"\0" in self._rest
        return True

    def _decode(self, data: bytes, final: bool = False) -> bytes:
        if self._decoder is None:
            return data
        return self._decoder.decode(data, final).encode("utf-8", "surrogatepass")


def _split(data: bytes, at_nul: bool) -> list[bytes]:
    return data.split(b"\0") if at_nul else re.split(rb"[\r\n]", data)


def _names(pieces: list[bytes]) -> list[str]:
    return [os.fsdecode(piece) for piece in pieces if piece.strip()]


def _unreadable(name: object, error: UnicodeDecodeError) -> LesionsegError:
    return LesionsegError(f"{name}: cannot read this list: {fault_of_text(error)}")


def _refuse_binary(data: bytes, name: object) -> None:
    """Raise LesionsegError where a list begins like a photo, an archive or other binary data."""
    sample = data[:_SAMPLE]
    if _NOT_A_LIST.match(sample) or len(_CONTROL.findall(sample)) > len(sample) // 50:
        raise LesionsegError(
            f"{name}: expected a list of names, one per line, got a photo or another binary file"
        )


def _encoding(data: bytes, guess: bool) -> tuple[str, bytes]:
    """Return the encoding that a list begins in, and its byte order mark, which may be empty.

    UTF-8 stands for whatever has no mark and, where that may be guessed, does not look like UTF-16.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding, mark
    sample = data[:_SAMPLE]
    for encoding, zeros, others in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        if guess and len(zeros) > 2 and not zeros.strip(b"\0") and b"\0" not in others:
            return encoding, b""
    return "utf-8", b""
