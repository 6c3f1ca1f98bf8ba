"""Files that are written completely or not at all, and folders locked to one process."""

import csv
import errno
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from lesionseg import store
from lesionseg.errors import DiskFullError, LesionsegError

if sys.platform != "win32":
    import fcntl

_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_PART_START = 50  # characters of a name, four bytes each at most, of the 255 that a name may have
_A_DAY = 86_400  # seconds
_SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_cleared: set[Path] = set()  # folders that this process has looked through


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    The final name holds either the complete new file or what was there before. A path that is
    not a regular file (`/dev/null`, a named pipe) is yielded as it is. Missing folders are created.
    Before the first file in a folder, `clear_leftovers` looks through it.

    Raises:
        DiskFullError: no space.
        LesionsegError: the operating system refuses (no permission, a folder there, a file in
            place of its folder).
    """
    temporary = part_path(path)
    handle: int | None = None
    try:
        if path.is_dir():
            raise LesionsegError(f"cannot write {path}: it is a folder; name a file")
        if path.exists() and not path.is_file():
            yield path
            return
        _existing_folder(path, path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        while (handle := _create_locked(temporary)) is None:
            temporary = part_path(path)
        yield temporary
        if sys.platform == "win32":  # where no open file can be renamed
            os.close(handle)
            handle = -1
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
        if handle is not None and handle >= 0:
            os.close(handle)


def check_writable(path: Path, *, is_folder: bool = False) -> None:
    """Refuse a result that cannot be written, before the work for it; nothing is created.

    Args:
        path: of a file that will be written, or of a folder that files will be written to.
        is_folder: which of the two it is.

    Raises:
        LesionsegError: a folder in the place of a file, a file in the place of a folder, a broken
            link, or no permission.
    """
    try:
        if not is_folder:
            if path.is_dir():
                raise LesionsegError(f"cannot write {path}: it is a folder; name a file")
            if path.exists() and not path.is_file():  # such as /dev/null
                return
        folder = _existing_folder(path, path if is_folder else path.parent)
    except OSError as error:  # a name too long, a folder that may not be entered
        raise cannot_write(path, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refusal(path, f"{folder} may not be written to")


def _existing_folder(path: Path, folder: Path) -> Path:
    """Return the first folder on the way up that exists; refuse anything else there."""
    while not folder.exists() and folder != folder.parent:
        if folder.is_symlink():  # such as to an unmounted drive
            raise _refusal(path, f"{folder} is a broken link")
        folder = folder.parent
    if not folder.is_dir():
        raise _refusal(path, f"{folder} is not a folder")
    return folder


def create_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they are there. Raises as `atomic_write`."""
    try:
        _existing_folder(folder, folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> LesionsegError:
    """Return the error that says why a file cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"cannot write {path}: {error.strerror or error}")
    return _refusal(path, error.strerror or str(error))


def _refusal(path: Path, reason: str) -> LesionsegError:
    return LesionsegError(f"cannot write {path}: {reason}{store.cache_advice(path)}")


def part_path(path: Path) -> Path:
    """Return an unused path beside `path` for an unfinished file or folder."""
    start = path.name[:_PART_START]
    return path.with_name(f".{start}.{uuid.uuid4().hex[:8]}.part")


def _create_locked(path: Path) -> int | None:
    """Create a file and lock it; return None where it was removed in between."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    if sys.platform != "win32":
        with suppress(OSError):  # a network drive without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if not os.fstat(handle).st_nlink:
            os.close(handle)
            return None
    return handle


def clear_leftovers(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder; once a process.

    A file that is locked belongs to a living process. Where files cannot be locked, those of the
    last day are left alone. Folders are left to `shared_folder`.
    """
    key = folder.absolute()
    if key in _cleared:
        return
    _cleared.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_abandoned(Path(entry.path))


def _remove_abandoned(path: Path) -> None:
    is_old = time.time() - path.stat().st_mtime > _A_DAY
    if sys.platform == "win32":  # where no open file can be removed
        if is_old:
            path.unlink()
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        pass  # a living process writes to it
    except OSError:  # a network drive without locks
        if is_old:
            path.unlink()
    finally:
        os.close(handle)


def spreadsheet_text(text: str) -> str:
    """Return text for a CSV file that no spreadsheet runs as a formula.

    Text that begins with =, +, -, @, a tab or a carriage return gets a ' in front, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    is_formula = len(text) > 1 and text.startswith(_SPREADSHEET_FORMULA)  # "-" is standard input
    return f"'{text}" if is_formula else text


class TableWriter:
    """Write rows of CSV, each ended by a line feed; text with a line break is put in quotes.

    Python's own writer puts a carriage return in quotes only where it ends the rows, before 3.13.
    """

    def __init__(self, file: "TextIO | AtomicTextFile") -> None:
        self._file = file
        self._rows = csv.writer(self, lineterminator="\r\n")

    def writerow(self, row: Iterable[object]) -> None:
        """Write a row. Raises as the file does."""
        self._rows.writerow(row)

    def write(self, row: str) -> None:
        """Take a row of `csv.writer`."""
        self._file.write(row.removesuffix("\r\n") + "\n")


def write(path: Path, content: bytes | str) -> None:
    """Write a complete file as `atomic_write` does, text as UTF-8. Raises as `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder`, which exists; the lock ends with the process.

    Raises:
        LesionsegError: another process holds the lock.
    """
    if sys.platform == "win32":  # where a folder cannot be locked this way
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LesionsegError(
                f"another process is writing to {folder}; wait for it, or name another folder"
            ) from error
        except OSError:
            pass  # a network drive without locks
        yield
    finally:
        os.close(handle)


@contextmanager
def shared_folder(folder: Path) -> Iterator[None]:
    """Share a folder with other processes that build folders in it; create it if missing.

    A process that finds no other one in it removes the unfinished folders of killed ones.

    Raises:
        LesionsegError: it cannot be created.
    """
    create_folder(folder)
    if sys.platform == "win32":  # where a folder cannot be locked this way
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # another process is there, or a network drive has no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.iterdir():
                if _PART.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


class AtomicTextFile:
    """A text file that appears when its context ends.

    If the context ends with an error, or nothing was written, what was there before remains.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def write(self, text: str) -> int:
        """Append text, as UTF-8.

        Raises:
            LesionsegError: the operating system refuses.
        """
        try:
            if self._file is None:
                temporary = self._stack.enter_context(atomic_write(self.path))
                file = temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
                self._file = self._stack.enter_context(file)
            return self._file.write(text)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._stack.close()
        else:  # the error is not about this file, and must not be reported as if it were
            with suppress(LesionsegError):
                self._stack.__exit__(_AbortedError, _AbortedError(), None)


class _AbortedError(Exception):
    """The context of a file has failed."""
