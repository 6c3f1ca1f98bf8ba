"""`python -m lesionseg`, and the command `lesionseg`: the command line as a process of its own."""

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from lesionseg.cli.app import main

_RARELY = (100_000, 10, 10)  # new objects between two searches for unused ones, and so on


def run() -> NoReturn:
    """Runs the command line, and ends the process at once.

    The interpreter's own end takes torch's modules apart, half a second that nobody need wait for;
    and threads that torch has left behind after meeting other processes now and then abort it
    there ("terminate called without an active exception"). While torch is imported, searching for
    unused objects as often as Python does takes a tenth of the time, and finds none.
    """
    gc.set_threshold(*_RARELY)
    status: object = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    atexit._run_exitfuncs()  # what other packages have put off, such as matplotlib's clearing away
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):  # it was told of, or nobody listens
                stream.flush()
    os._exit(status if isinstance(status, int) else status is not None)


if __name__ == "__main__":
    run()
