"""What a user sees: notes and progress on standard error, results on standard output.

rich draws on a terminal only; in a pipe or a log a note is a plain line and a bar is nothing.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lesionseg import distributed
from lesionseg.errors import counted, printable

if TYPE_CHECKING:
    from rich.console import Console


# Shows that `done` of `total` are finished: (done, total, label, extra, unit), all but the first
# two optional; another label restarts the clock.
Bar = Callable[..., None]


_console: "Console | None" = None  # while a bar is on the screen; notes then go above it
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence notes and bars from now on."""
    global _quiet
    _quiet = quiet


def log(text: str, style: str | None = None) -> None:
    """Write a note: one line on standard error, above a bar in a style of rich's.

    Of several processes only the first one does, and none where --quiet was given.
    """
    if distributed.rank() == 0 and not _quiet:
        _write(text, style)


def warn(text: str, *, every_process: bool = False) -> None:
    """Write a line that --quiet does not silence.

    Of several processes only the first one does, unless it is about something that a process alone
    knows.
    """
    if distributed.rank() == 0 or every_process:
        _write(text)


def error(text: str) -> None:
    """Write what went wrong, on standard error; of several processes each says which it is."""
    process = f"process {distributed.rank()}: " if distributed.world_size() > 1 else ""
    warn(f"{process}error: {text}", every_process=True)


class _Notes(logging.Handler):
    """Writes what the library logs, and Python's warnings, each line once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._written: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that every process logs is marked as shared."""
        self.write(record.getMessage(), every_process=not getattr(record, "shared", False))

    def write(self, text: str, *, every_process: bool = True) -> None:
        """Write a note, unless it was written before."""
        line = f"note: {' '.join(text.split())}"
        if line not in self._written:
            self._written.add(line)
            warn(line, every_process=every_process)


def show_notes() -> None:
    """Write what the library logs on standard error from now on; warnings without source text."""
    notes = _Notes()
    logger = logging.getLogger("lesionseg")
    logger.handlers = [notes]
    warnings.showwarning = lambda message, *_, **__: notes.write(str(message))


def _write(text: str, style: str | None = None) -> None:
    if _console is not None:
        _console.print(printable(text), style=style)
    elif sys.stderr is not None:
        print(printable(text), file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """Print a result, on standard output; a line longer than its width is not cut."""
    from rich.console import Console

    Console(markup=False, highlight=False, emoji=False).print(renderable, crop=False)


def draws() -> bool:
    """Tell whether bars and tables are drawn: standard error is a terminal, and not --quiet."""
    return not _quiet and distributed.rank() == 0 and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(label: str, *, hidden: bool = False) -> Iterator[Bar]:
    """Show a progress bar until the block ends; nothing if hidden or not on a terminal."""
    global _console
    if hidden or not draws():
        yield lambda *done, **more: None
        return
    from rich import progress
    from rich.console import Console

    _console = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    with progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[counts]}", markup=False),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[extra]}", markup=False),
        console=_console,
        transient=True,
        disable=not _console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bars:
        task = bars.add_task(label, total=None, extra="", counts="")

        def move(
            done: int,
            total: int | None,
            label: str | None = None,
            extra: str = "",
            unit: str = "photo",
        ) -> None:
            shown = bars.tasks[0]
            if label is not None and label != shown.description:
                bars.reset(task, description=label, total=total)
            counts = _counts(done, total, shown.speed, unit)
            bars.update(task, completed=done, total=total, extra=extra, counts=counts)

        try:
            yield move
        finally:
            _console = None


def _counts(done: int, total: int | None, speed: float | None, unit: str) -> str:
    """Format counts, such as `120/1796 photos, 5.6/s`, or `120 photos` of an unknown total."""
    from rich.filesize import decimal

    if total is None:
        return decimal(done) if unit == "byte" else counted(done, unit)
    if unit == "byte":
        return f"{decimal(done)}/{decimal(total)}" + (f", {decimal(int(speed))}/s" if speed else "")
    return f"{done}/{counted(total, unit)}" + (f", {speed:.1f}/s" if speed else "")
