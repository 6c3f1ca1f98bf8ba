"""What Ctrl-C and a batch system's SIGTERM do: end at once, interrupt, or ask to stop.

A process starts with `end_at_once`: while packages are imported, Python may lose an exception that
a signal raises, or show it as a traceback of somebody else's. `interrupt` is for a command that has
files to clear away, `stoppable` for one that ends with a result. Of several processes, as torchrun
starts them, none hears SIGTERM but in `stoppable`: they would not while they wait for another one.

This comes before all else, so that it imports next to nothing, `typing` included.
"""

import os
import signal
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

INTERRUPTED = "interrupted; run the same command again to start over or resume"
STATUS = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """Make both signals end the process with one line and status 130; nothing is cleared away."""
    _handle(_end)


def interrupt() -> None:
    """Make both signals raise KeyboardInterrupt, so that unfinished files are removed."""
    _handle(signal.default_int_handler)


@contextmanager
def ending_at_once() -> "Iterator[None]":
    """Let both signals end the process while the block imports packages and writes nothing."""
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    end_at_once()
    try:
        yield
    finally:
        _restore(handlers)


@contextmanager
def stoppable(warn: "Callable[[str], None]") -> "Iterator[Callable[[], bool]]":
    """Turn both signals into a question: has someone asked to stop?

    `warn` tells the user so. The second time it stops at once, by KeyboardInterrupt.
    """
    asked = False

    def ask(number: int, frame: "FrameType | None") -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # A signal in the middle of another line finds the stream locked; how the run ends is said
        # later in any case.
        with suppress(RuntimeError):
            warn("stopping after this step; interrupt again to stop at once")

    handlers = [signal.signal(number, ask) for number in _SIGNALS]
    try:
        yield lambda: asked
    finally:
        _restore(handlers)


def _handle(handler: "Any") -> None:
    """Set the handler of both signals, but of one that a script ignores in the background."""
    if "WORLD_SIZE" in os.environ:
        from lesionseg import distributed

        if distributed.world_size() > 1:
            return
    _restore(
        [
            signal.SIG_IGN if signal.getsignal(number) is signal.SIG_IGN else handler
            for number in _SIGNALS
        ]
    )


def _restore(handlers: "list[Any]") -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def _end(number: int, frame: "FrameType | None") -> None:
    with suppress(OSError):
        screen = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # a bar may have hidden the cursor
        os.write(2, f"{screen}{INTERRUPTED}\n".encode())
    os._exit(STATUS)
