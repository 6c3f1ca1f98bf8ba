"""Errors that a user can fix, each shown as one line."""

import errno


class LesionsegError(Exception):
    """Something a user can fix: a file, a folder, a download, a checkpoint, a setting.

    The text is one line: what, expected against got, and what to do next. The command line
    prints it on standard error and exits with 1; the core never prints and never exits.
    """


class UsageError(LesionsegError):
    """Options, or arguments, that are out of range or do not go together.

    The command line exits with 2.
    """


class PhotoError(LesionsegError):
    """A photo or a mask cannot be read, or is not what was expected of it."""


class NoPairsError(LesionsegError):
    """No photo with a mask was found where some were expected."""


class CheckpointError(LesionsegError):
    """A checkpoint or an exported network is missing, foreign, damaged or of a later format."""


class DownloadError(LesionsegError):
    """A download failed, or what it brought is damaged."""


class DiskFullError(LesionsegError):
    """A disk, or a quota, is full, so that what comes next cannot be written either."""


def as_result(error: LesionsegError) -> LesionsegError:
    """Return the error without its traceback, which would keep a photo and its mask in memory."""
    return type(error)(str(error))


def one_line(error: BaseException) -> str:
    """Return the text of any exception on one line, or its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def fault_of_text(error: Exception) -> str:
    """Say in plain words why a file of text, JSON, XML or CSV cannot be read.

    Args:
        error: that reading it raised.
    """
    if isinstance(error, OSError):
        return error.strerror or one_line(error)
    if isinstance(error, UnicodeDecodeError):
        encoding = error.encoding.upper().replace("_", "-")
        return f"expected {encoding} text, got other bytes at byte {error.start + 1}; save it again"
    kind, line, column = "JSON", getattr(error, "lineno", None), getattr(error, "colno", None)
    if isinstance(error, SyntaxError):
        kind, (line, column) = "XML", getattr(error, "position", (line, column))
    if line is not None:
        return f"not valid {kind} at line {line}, column {column}; export it again"
    return "not a CSV table, as where a quotation mark lacks its second; save it as CSV again"


def describe(error: OSError) -> str:
    """Return what an error of the operating system is about, and its reason."""
    if not error.filename and error.errno == errno.ENOENT:  # of a path without a folder
        return "the current folder no longer exists; change to one that does"
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or one_line(error)}"


def amount(number: int) -> str:
    """Format a number of bytes: `13.8 GB`, `0.4 MB`."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def counted(number: int, noun: str) -> str:
    """Format a count of things named by a singular noun: `1 photo`, `2 photos`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def printable(text: str) -> str:
    """Escape control characters, which file names may hold, for a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
