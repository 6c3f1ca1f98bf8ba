"""The U-Net: its shape, its size, and what it owns."""

import pytest
import torch
from helpers import begun
from torch import nn

from lesionseg.config import ModelConfig, Normalisation
from lesionseg.model import PHOTO_MEAN, PHOTO_STD, UNet


def network(width: int = 1, normalisation: Normalisation = "batch") -> UNet:
    torch.manual_seed(0)
    return UNet(ModelConfig(width, normalisation, 32)).eval()


def photos(batch: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    values = torch.arange(batch * 3 * height * width) * 37 % 256
    return values.reshape(batch, 3, height, width).to(torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (48, 32), (16, 80)])
@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_logits_are_as_large_as_the_photos(
    normalisation: Normalisation, height: int, width: int
) -> None:
    logits = network(2, normalisation)(photos(3, height, width))
    assert logits.shape == (3, 1, height, width)
    assert logits.dtype == torch.float32


def test_the_output_is_logits_not_probabilities() -> None:
    net = network()
    assert net.head.bias is not None
    nn.init.constant_(net.head.bias, 50.0)
    assert net(photos()).max() > 1


@pytest.mark.parametrize("width", [1, 3, 64])
def test_number_of_parameters_without_normalisation(width: int) -> None:
    def block(inputs: int, outputs: int) -> int:
        """Two 3x3 convolutions with biases."""
        return (9 * inputs * outputs + outputs) + (9 * outputs * outputs + outputs)

    w = width
    down = block(3, w) + block(w, 2 * w) + block(2 * w, 4 * w) + block(4 * w, 8 * w)
    bottom = block(8 * w, 16 * w)
    up = sum((4 * 2 * c * c + c) + block(2 * c, c) for c in (8 * w, 4 * w, 2 * w, w))
    expected = down + bottom + up + (w + 1)
    net = UNet(ModelConfig(width, "none", 32))
    assert sum(parameter.numel() for parameter in net.parameters()) == expected
    if width == 64:
        assert expected == 31_031_745


@pytest.mark.parametrize(("normalisation", "layers"), [("batch", 6), ("none", 4)])
def test_every_block_is_two_convolutions(normalisation: Normalisation, layers: int) -> None:
    net = network(2, normalisation)
    assert len(net.encoder) == len(net.decoder) == len(net.upsample) == 4
    for block in (*net.encoder, net.bottleneck, *net.decoder):
        assert isinstance(block, nn.Sequential)
        convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d)]
        assert [layer.kernel_size for layer in convolutions] == [(3, 3), (3, 3)]
        assert len(block) == layers
        assert sum(isinstance(layer, nn.ReLU) for layer in block) == 2
        # A bias is of no use before normalisation, which takes the mean away.
        assert all((layer.bias is None) == (normalisation == "batch") for layer in convolutions)


def test_four_poolings_down_to_a_sixteenth() -> None:
    net = network(2)
    sizes = []
    net.pool.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    net.bottleneck.register_forward_hook(
        lambda _, __, output: sizes.append(tuple(output.shape[1:]))
    )
    net(photos(1, 32, 64))
    assert isinstance(net.pool, nn.MaxPool2d)
    assert sizes == [(2, 16, 32), (4, 8, 16), (8, 4, 8), (16, 2, 4), (32, 2, 4)]


def test_the_skip_connections_carry_something() -> None:
    net = network(2)
    seen: list[torch.Tensor] = []
    net.decoder[-1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    kept: list[torch.Tensor] = []
    net.encoder[0].register_forward_hook(lambda _, __, output: kept.append(output))
    net(photos())
    assert torch.equal(seen[0][:, :2], kept[0])


def test_bytes_and_floats_give_the_same_logits() -> None:
    net = network()
    assert torch.equal(net(photos()), net(photos().float()))


def test_the_network_owns_its_normalisation() -> None:
    net = network()
    state = net.state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx(PHOTO_MEAN)
    assert state["std"].flatten().tolist() == pytest.approx(PHOTO_STD)
    seen: list[torch.Tensor] = []
    net.encoder[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    net(torch.tensor(PHOTO_MEAN).view(1, 3, 1, 1).expand(1, 3, 16, 16))
    assert torch.equal(seen[0], torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_gradients_reach_every_parameter(normalisation: Normalisation) -> None:
    net = network(4, normalisation).train()
    net(photos()).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_begin_as_the_paper_says() -> None:
    layer = network(16).bottleneck[0]  # 9 * 128 inputs of a neuron, and many weights
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_the_seed_decides_the_weights() -> None:
    state = torch.get_rng_state()
    one, same, other = begun(seed=1).weights, begun(seed=1).weights, begun(seed=2).weights
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers go on
