"""Files that are written completely or not at all, and folders locked to one process."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from lesionseg.errors import LesionsegError

if sys.platform != "win32":
    import fcntl


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    The final name holds either the complete new file or what was there before. A path that is
    not a regular file (`/dev/null`, a named pipe) is yielded as it is. Missing folders are created.

    Raises:
        LesionsegError: the operating system refuses (no space, no permission, a folder there, a
            file in place of its folder).
    """
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        if path.is_dir():
            raise LesionsegError(f"cannot write {path}: it is a folder; name a file")
        if path.exists() and not path.is_file():
            yield path
            return
        if path.parent.exists() and not path.parent.is_dir():
            raise LesionsegError(f"cannot write {path}: {path.parent} is not a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise LesionsegError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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
            raise LesionsegError(f"cannot write {self.path}: {error.strerror or error}") from error

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
