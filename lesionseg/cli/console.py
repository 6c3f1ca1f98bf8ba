"""What a person sees: notes and progress on standard error, results on standard output.

rich draws on a terminal only; in a pipe or a log a note is a plain line and a bar is nothing.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from lesionseg import distributed
from lesionseg.errors import printable

if TYPE_CHECKING:
    from rich.console import Console


# Shows that `done` of `total` are finished: (done, total, label, extra, unit), all but the first
# two optional; another label begins the clock anew.
Bar = Callable[..., None]


_console: "Console | None" = None  # while a bar is on the screen; notes then go above it


def log(text: str, style: str | None = None, *, every_process: bool = False) -> None:
    """One line for the person, on standard error; above a bar in a style of rich's.

    Of several processes only the first one speaks, where it is not about something that a process
    alone knows.
    """
    if distributed.rank() > 0 and not every_process:
        return
    if _console is not None:
        _console.print(printable(text), style=style)
    elif sys.stderr is not None:
        print(printable(text), file=sys.stderr, flush=True)


def error(text: str) -> None:
    """What went wrong, on standard error; of several processes each says which it is."""
    process = f"process {distributed.rank()}: " if distributed.world_size() > 1 else ""
    log(f"{process}error: {text}", every_process=True)


def show(renderable: Any) -> None:
    """A result, on standard output."""
    from rich.console import Console

    Console(markup=False, highlight=False, emoji=False).print(renderable)


def draws() -> bool:
    """Whether bars and tables are drawn: standard error is a terminal."""
    return distributed.rank() == 0 and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(label: str, *, hidden: bool = False) -> Iterator[Bar]:
    """A progress bar; gone when the block ends. Nothing where it is hidden or no terminal."""
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
            total: int,
            label: str | None = None,
            extra: str = "",
            unit: str = "photos",
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


def _counts(done: int, total: int, speed: float | None, unit: str) -> str:
    """Such as `120/1796 photos, 5.6/s`."""
    from rich.filesize import decimal

    if unit == "bytes":
        return f"{decimal(done)}/{decimal(total)}" + (f", {decimal(int(speed))}/s" if speed else "")
    return f"{done}/{total} {unit}" + (f", {speed:.1f}/s" if speed else "")


def end_by_sigterm_as_by_ctrl_c() -> None:
    """From now on a batch system's SIGTERM clears unfinished files away, too, by KeyboardInterrupt.

    Of several processes none does so: they would not hear it while they wait for one that was lost.
    """
    if distributed.world_size() == 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, or a batch system's SIGTERM, as a question: has someone asked to stop?

    The second time it stops at once, by KeyboardInterrupt.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        log("stopping after this step; once more to stop at once")

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, ask) for each in signals]
    try:
        yield asked.is_set
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
