"""A text file that grows while something long goes on, and appears whole at its end."""

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from lesionseg import store
from lesionseg.errors import LesionsegError


class GrowingFile:
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
                temporary = self._stack.enter_context(store.replacing(self.path))
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
