"""One process among several that torchrun, or a batch system, has started.

The environment says which process this is: RANK, WORLD_SIZE, LOCAL_RANK, and MASTER_ADDR and
MASTER_PORT, where they meet. Without these it is the only one, and nothing here does anything.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from lesionseg.errors import LesionsegError, one_line

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
# Patience where a step of all of them is waited for, and where each works through its own share.
A_STEP, TO_THE_SLOWEST = timedelta(hours=1), timedelta(days=30)

# How torch says, in a RuntimeError, that another process is gone; its own classes are DistError's.
_LOST = ("connection closed", "connection reset", "broken pipe", "timed out", "nccl", "gloo")
_SOURCE = re.compile(r"^\[\S+:\d+\] ")  # the place in gloo's code that such a message begins with


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default


def world_size() -> int:
    """Return the number of processes."""
    return max(1, _number("WORLD_SIZE", 1))


def rank() -> int:
    """Return this process's number, from 0; rank 0 writes the files and shows the progress."""
    return _number("RANK", 0) if world_size() > 1 else 0


def local_rank() -> int:
    """Return this process's number on its host, from 0: that of its CUDA device."""
    return _number("LOCAL_RANK", 0) if world_size() > 1 else 0


def local_world() -> int:
    """Return the number of processes on this host."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1


@contextmanager
def joined(patience: timedelta, *, cuda: bool = False) -> Iterator[None]:
    """Join the process group for the block.

    Args:
        patience: how long one waits for another.
        cuda: whether they tell each other what is on CUDA devices, too.

    Raises:
        LesionsegError: they do not meet, or another process ended in between.
    """
    if world_size() == 1:
        yield
        return
    import torch
    from torch import distributed

    if cuda:
        torch.cuda.set_device(local_rank())
    try:
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        distributed.init_process_group(backend, timeout=patience)
        yield
        barrier()  # torchrun ends all where one ends with a status that is not 0
    except RuntimeError as error:
        if not lost(error):
            raise
        raise LesionsegError(
            f"another of the {world_size()} processes has ended, or cannot be reached "
            f"({_SOURCE.sub('', one_line(error))[:80]}); run the same command again"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def lost(error: RuntimeError) -> bool:
    """Tell whether an error of torch means that another process is gone."""
    text = one_line(error).lower()
    return world_size() > 1 and (
        type(error).__name__.startswith("Dist") or any(words in text for words in _LOST)
    )


def all_gather(value: T) -> list[T]:
    """Collect what each process gives, by rank; every process must call it."""
    if world_size() == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def broadcast(make: Callable[[], T]) -> T:
    """Return what `make` returns on rank 0, on every process; every process must call it."""
    if world_size() == 1:
        return make()
    from torch import distributed

    values: list[Any] = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(values)
    value: T = values[0]
    return value


def any_of(flag: bool) -> bool:
    """Tell whether `flag` is true on any process; every process must call it."""
    if world_size() == 1:
        return flag
    import torch

    return bool(all_reduce(torch.tensor(float(flag))).item())


def barrier() -> None:
    """Wait until every process has come here."""
    all_gather(None)


def all_reduce(values: "Tensor") -> "Tensor":
    """Sum a tensor over the processes, in place; every process must call it."""
    if world_size() > 1:
        from torch import distributed

        distributed.all_reduce(values)
    return values
