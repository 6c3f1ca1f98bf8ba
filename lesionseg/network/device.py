"""Choose the device that does the arithmetic and its memory format; advise when memory is out."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lesionseg.distributed import local_rank
from lesionseg.errors import LesionsegError, one_line

if TYPE_CHECKING:
    import torch

# What torch's RuntimeErrors contain: on Linux and macOS, on Windows, of CUDA and Apple's GPU, of
# cuBLAS and cuDNN; those of ONNX Runtime contain the first.
_OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED")


def has_cuda() -> bool:
    """Tell whether torch can use a CUDA device here; asks the driver, without importing torch."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return False
    from importlib.metadata import PackageNotFoundError, version

    try:
        return not version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def find_device(name: str | None = None) -> "torch.device":
    """Find the device called `name`; by default CUDA when there is one, else the CPU.

    Raises:
        LesionsegError: no such device here.
    """
    import torch

    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if local_rank() >= torch.cuda.device_count():
            raise LesionsegError(
                "expected a CUDA device for each process on this host, got "
                f"{torch.cuda.device_count()}; start no more processes than devices, or use "
                "--device cpu"
            )
        return torch.device("cuda", local_rank())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LesionsegError(f"no device {name!r}; expected cpu, cuda, cuda:1 or mps") from error
    try:
        torch.zeros(1, device=device).item()  # a value read back: 'meta' has none
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = one_line(error).split(". ")[0]
        raise LesionsegError(f"device {name!r} cannot be used here: {reason}; try 'cpu'") from error
    return device


def memory_format(device: "torch.device") -> "torch.memory_format":
    """Choose channels-last where it was measured to be faster: on CUDA and with AVX-512."""
    import torch

    if device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512":
        return torch.channels_last
    return torch.contiguous_format


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of handing it back.

    Every step frees and asks for the same large blocks; handed back, each comes with page faults
    that took half of the training time (docs/measurements.md). Does nothing on other systems.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # names of <malloc.h>
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(arena_max, 1)


@contextmanager
def out_of_memory_says(advice: str) -> Iterator[None]:
    """Turn running out of memory into a LesionsegError that ends with `advice`."""
    try:
        yield
    except MemoryError as error:
        raise LesionsegError(f"out of memory; {advice}") from error
    except RuntimeError as error:
        if any(words in one_line(error) for words in _OUT_OF_MEMORY):
            raise LesionsegError(f"out of memory; {advice}") from error
        raise
