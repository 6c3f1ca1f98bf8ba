"""Processes that start with torch: forked from one that has imported it, once for all of them.

To import it takes three seconds of a processor, and a training's first step two more.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

CONTEXT = multiprocessing.get_context("forkserver")
# Nothing of lesionseg: it is imported where the environment is that of its process.
CONTEXT.set_forkserver_preload(["torch._dynamo", "torch.distributed.run", "matplotlib.figure"])
PATIENCE = 120  # seconds for a busy machine; nothing is timed


def start(
    words: Sequence[object], environment: Mapping[str, str], out: Path, err: Path
) -> ForkServerProcess:
    """Start `python WORDS...`, a module by `-m` or a file; what it says goes to two files."""
    process = CONTEXT.Process(
        target=_run, args=([*map(str, words)], dict(environment), str(out), str(err))
    )
    process.start()
    return process


def status(process: ForkServerProcess) -> int:
    """Wait for the end of a process, and return its exit status, below 0 for a signal."""
    process.join(PATIENCE)
    assert process.exitcode is not None, "still at work"
    return process.exitcode


def _run(words: list[str], environment: dict[str, str], out: str, err: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # read when it was imported
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
