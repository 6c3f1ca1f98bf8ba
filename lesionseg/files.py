"""Files that appear whole or not at all, and folders that one process writes to at a time."""

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
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The final name holds either the whole new file or what stood there before. A path that is
    not a regular file (`/dev/null`, a named pipe) is handed out as it is. Folders are made.

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
            raise LesionsegError(f"cannot write {path}: {path.parent} is no folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise LesionsegError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write(path: Path, content: bytes | str) -> None:
    """Writes a whole file as `atomic_write` does, text as UTF-8. Raises as `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keeps a second process out of `folder`, which exists; the lock ends with the process.

    Raises:
        LesionsegError: another process is in it.
    """
    if sys.platform == "win32":  # where a folder cannot be locked so
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
    """A context that text is written in; the file appears at its end.

    If the context ends with an error, or nothing was written, what stood there before remains.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def write(self, text: str) -> int:
        """Writes on, in UTF-8.

        Raises:
            LesionsegError: the operating system refuses.
        """
        try:
            if self._file is None:
                temporary = self._stack.enter_context(atomic_write(self.path))
                opened = temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
                self._file = self._stack.enter_context(opened)
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
        else:  # which is not about this file, and must not be taken for it
            with suppress(LesionsegError):
                self._stack.__exit__(_GivenUp, _GivenUp(), None)


class _GivenUp(Exception):
    """What was going on has failed."""
