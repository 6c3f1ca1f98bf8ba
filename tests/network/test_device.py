"""Devices that are here or not, and memory that is out."""

import pytest
import torch

from lesionseg.errors import LesionsegError
from lesionseg.network.device import find_device, memory_format, out_of_memory_says


def test_the_processor_is_always_there() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "meta", "hpu"])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(LesionsegError, match=r"^device .* cannot be used here: .*try 'cpu'$"):
        find_device(name)


@pytest.mark.parametrize("name", ["abacus", "", "gpu"])
def test_a_device_that_is_none(name: str) -> None:
    with pytest.raises(LesionsegError, match=rf"^no device '{name}'; expected cpu, cuda, "):
        find_device(name)


def test_channels_last_on_a_graphics_card() -> None:
    assert memory_format(torch.device("cuda")) == torch.channels_last


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=lambda error: str(error)[:30] or type(error).__name__,
)
def test_out_of_memory_becomes_advice(error: Exception) -> None:
    with (
        pytest.raises(LesionsegError, match=r"^out of memory; ask for less$"),
        out_of_memory_says("ask for less"),
    ):
        raise error


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_says("ask for less"):
        raise RuntimeError("shapes differ")
