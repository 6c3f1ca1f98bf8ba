"""`python -m lesionseg`, and the command `lesionseg`: the command line as a process of its own.

Nothing heavy is imported before signals are handled.
"""

import atexit
import gc
import io
import os
import sys
from contextlib import suppress

from lesionseg.cli import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_RARELY = (100_000, 10, 10)  # new objects between two searches for unused ones, and so on


def main() -> "NoReturn":
    """Import and run the command line."""
    from lesionseg.cli import app

    app.main()


def run() -> "NoReturn":
    """Run the command line, and end the process at once.

    The interpreter's own end takes torch's modules apart, half a second that nobody need wait for;
    and threads that torch has left behind after meeting other processes now and then abort it
    there ("terminate called without an active exception"). While torch is imported, searching for
    unused objects as often as Python does takes a tenth of the time, and finds none.
    """
    signals.end_at_once()
    _open_standard_files()
    gc.set_threshold(*_RARELY)
    status: object = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    except KeyboardInterrupt:  # a second one, while the first was answered
        status = signals.STATUS
    signals.end_at_once()
    atexit._run_exitfuncs()  # what other packages have put off, such as matplotlib's clearing away
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):  # it was reported, or nobody listens
                stream.flush()
    os._exit(status if isinstance(status, int) else status is not None)


class _Messages(io.TextIOWrapper):
    """Standard error that loses a message rather than stop what it is about."""

    def write(self, text: str) -> int:
        """Write as far as possible."""
        with suppress(OSError):  # a full disk, a pipe that nobody reads, a terminal that is gone
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as far as possible."""
        with suppress(OSError):
            super().flush()


def _open_standard_files() -> None:
    """Keep results independent of standard error, and of standard files that are closed.

    A closed one would lend its number to the next file that is opened, and libraries would write
    their messages into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    elif isinstance(sys.stderr, io.TextIOWrapper):
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        sys.stderr = _Messages(sys.stderr.buffer, encoding, errors, line_buffering=True)


if __name__ == "__main__":
    run()
