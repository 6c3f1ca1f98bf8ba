"""Batch normalisation over several processes is the native one over all of their photos."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import begun
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lesionseg.network import sync_batchnorm
from lesionseg.network.sync_batchnorm import SyncBatchNorm, convert_sync_batchnorm

CHANNELS = 3


def native(seed: int, momentum: float = 0.1) -> nn.BatchNorm2d:
    """A batch normalisation that has seen something already, with weights of no pattern."""
    random = torch.Generator().manual_seed(seed)
    layer = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=momentum)
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            assert value is not None
            value.copy_(torch.rand(CHANNELS, generator=random) * 2 + 0.1)
    return layer


def photos(seed: int, count: int, side: int = 5, offset: float = 0.0) -> Tensor:
    """(count, CHANNELS, side, side) float32, each channel about another mean."""
    random = torch.Generator().manual_seed(seed)
    means = torch.arange(CHANNELS).view(1, -1, 1, 1) * 3.0 + offset
    return torch.randn(count, CHANNELS, side, side, generator=random) * 2 + means


def ran(layer: nn.BatchNorm2d, x: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """The output, and the gradients of x, weight and bias for this gradient of the output."""
    x = x.clone().requires_grad_()
    result = layer(x)
    result.backward(slope)
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    return result.detach(), x.grad, layer.weight.grad, layer.bias.grad


def close(one: Sequence[Tensor], other: Sequence[Tensor], tolerance: float = 1e-4) -> None:
    for first, second in zip(one, other, strict=True):
        assert first.dtype == second.dtype
        largest = float(second.detach().abs().max()) + 1e-6
        assert torch.allclose(first, second, rtol=tolerance, atol=tolerance * largest)


def processes(
    monkeypatch: pytest.MonkeyPatch, count: int, work: Callable[[int], tuple[Tensor, ...]]
) -> list[tuple[Tensor, ...]]:
    """What `work` gives in so many threads, whose sums are those of all of them."""
    sums: dict[int, Tensor] = {}
    ranks = threading.local()
    met = threading.Barrier(count, timeout=30)

    def all_reduce(values: Tensor) -> Tensor:
        sums[ranks.own] = values.clone()
        met.wait()
        torch.sum(torch.stack([sums[rank] for rank in range(count)]), 0, out=values)
        met.wait()  # none may give the next before all have taken this
        return values

    def run(rank: int) -> tuple[Tensor, ...]:
        ranks.own = rank
        return work(rank)

    with monkeypatch.context() as patch, ThreadPoolExecutor(count) as pool:
        patch.setattr(sync_batchnorm, "all_reduce", all_reduce)
        return list(pool.map(run, range(count)))


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 4), st.sampled_from([0.0, 30.0]))
def test_alone_it_is_the_native_one(seed: int, count: int, offset: float) -> None:
    plain, shared = native(seed), SyncBatchNorm.of(native(seed))
    for step in range(3):
        x, slope = photos(seed + step, count, offset=offset), photos(seed + 9, count)
        plain.zero_grad()
        shared.zero_grad()
        close(ran(shared, x, slope), ran(plain, x, slope))
        close(list(shared.buffers()), list(plain.buffers()))


def test_its_gradients_are_those_of_differences() -> None:
    """In double precision, by torch's own check."""
    layer = SyncBatchNorm.of(native(1)).double()
    x = photos(2, 2, side=3).double().requires_grad_()

    def normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.no_grad():
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        count = torch.tensor(x.numel() / x.shape[1])
        result: Tensor = sync_batchnorm._Normalise.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, mean, variance, count, layer.eps
        )
        return result

    # The layer's arithmetic is float32 where it is not said otherwise: hence the tolerances.
    assert torch.autograd.gradcheck(
        normalised, (x, layer.weight, layer.bias), eps=1e-3, atol=1e-3, rtol=1e-3
    )


def test_in_bfloat16_it_is_the_native_one() -> None:
    """As under autocast: weights and statistics in float32, photos in bfloat16."""
    plain, shared = native(3), SyncBatchNorm.of(native(3))
    x, slope = photos(4, 3).bfloat16(), photos(5, 3).bfloat16()
    one, other = ran(shared, x, slope), ran(plain, x, slope)
    assert [tensor.dtype for tensor in one] == [torch.bfloat16] * 2 + [torch.float32] * 2
    close(one, other, tolerance=2e-2)
    close(list(shared.buffers()), list(plain.buffers()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("counts", [(2, 2), (3, 2), (1, 4), (2, 1, 2)])
def test_several_processes_are_one_with_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, slope = photos(6, sum(counts)).to(dtype), photos(7, sum(counts)).to(dtype)
    plain = native(8)
    layers = [SyncBatchNorm.of(native(8)) for _ in counts]
    parts, slopes = (torch.split(tensors, list(counts)) for tensors in (x, slope))
    results = processes(
        monkeypatch, len(counts), lambda rank: ran(layers[rank], parts[rank], slopes[rank])
    )
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    whole, for_x, for_weight, for_bias = ran(plain, x, slope)
    close([torch.cat([tensors[0] for tensors in results])], [whole], tolerance)
    close([torch.cat([tensors[1] for tensors in results])], [for_x], tolerance)
    # Each process has its photos' share; DistributedDataParallel adds them up.
    close([torch.stack([tensors[2] for tensors in results]).sum(0)], [for_weight], tolerance)
    close([torch.stack([tensors[3] for tensors in results]).sum(0)], [for_bias], tolerance)
    for layer in layers:
        close(list(layer.buffers()), list(plain.buffers()), tolerance)
        assert all(map(torch.equal, layer.buffers(), layers[0].buffers()))  # bit for bit


def test_processes_of_one_value_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them has a variance of its own."""
    plain, layers = native(8), [SyncBatchNorm.of(native(8)) for _ in range(2)]
    x, slope = photos(6, 2, side=1), photos(7, 2, side=1)
    results = processes(monkeypatch, 2, lambda rank: ran(layers[rank], x[[rank]], slope[[rank]]))
    whole, for_x, *_ = ran(plain, x, slope)
    close([torch.cat([result[0] for result in results])], [whole])
    close([torch.cat([result[1] for result in results])], [for_x], 1e-3)
    for layer in layers:
        close(list(layer.buffers()), list(plain.buffers()))


def test_a_channel_without_contrast_stays_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [SyncBatchNorm.of(native(9)) for _ in range(2)]
    flat = torch.full((2, CHANNELS, 4, 4), 100.0)
    results = processes(monkeypatch, 2, lambda rank: ran(layers[rank], flat, photos(1, 2, side=4)))
    assert all(torch.isfinite(tensors).all() for result in results for tensors in result)
    assert all(
        bool((layer.running_var >= 0).all()) for layer in layers if layer.running_var is not None
    )


def test_a_network_keeps_its_names_and_tensors() -> None:
    network = begun(2).network()
    before = network.state_dict(keep_vars=True)
    plain = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert convert_sync_batchnorm(network) is network
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    shared = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(shared) == len(plain) > 0
    assert all(isinstance(module, SyncBatchNorm) for module in shared)
    for one, other in zip(shared, plain, strict=True):
        assert (one.eps, one.momentum) == (other.eps, other.momentum)
    begun(2).network().load_state_dict(after)  # by a network that is not shared


def test_a_network_without_normalisation_stays_as_it_is() -> None:
    network = begun(2, "none").network()
    modules = list(network.modules())
    assert all(
        map(lambda one, other: one is other, convert_sync_batchnorm(network).modules(), modules)
    )


@pytest.mark.parametrize("training", [True, False])
def test_it_is_in_the_mode_of_the_one_it_replaces(training: bool) -> None:
    assert SyncBatchNorm.of(native(1).train(training)).training == training


def test_in_use_it_is_the_native_one_and_asks_no_other_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(values: Tensor) -> Tensor:
        pytest.fail("another process was asked")

    monkeypatch.setattr(sync_batchnorm, "all_reduce", refuse)
    plain, shared = native(2).eval(), SyncBatchNorm.of(native(2)).eval()
    x = photos(3, 2)
    assert torch.equal(shared(x), plain(x))
    close(list(shared.buffers()), list(plain.buffers()), 0)
