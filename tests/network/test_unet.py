"""The U-Net: its shape, its size, and what it owns."""

import itertools
from pathlib import Path

import pytest
import torch
from helpers import begun, saved
from torch import nn

from lesionseg.config import RECIPES, ModelConfig, Normalisation, Recipe, Standardisation, Stem
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.unet import LESION_FRACTION, PHOTO_MEAN, PHOTO_STD, UNet, shrink_weights

OLD_MODEL = ("width", "normalisation", "image_size")
OLD_RECIPE = (
    "name",
    "epochs",
    "learning_rate",
    "batch_size",
    "validation_batch_size",
    "seed",
    "precision",
)


def network(
    width: int = 1,
    normalisation: Normalisation = "batch",
    stem: Stem = "none",
    max_channels: int = 4096,
) -> UNet:
    torch.manual_seed(0)
    return UNet(ModelConfig(width, normalisation, 128, stem, max_channels)).eval()


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


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (32, 96)])
@pytest.mark.parametrize("normalisation", ["batch", "none"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logits_of_a_half_stem_are_as_large_as_the_photos(
    channels: int, normalisation: Normalisation, height: int, width: int
) -> None:
    logits = network(channels, normalisation, "strided")(photos(3, height, width))
    assert logits.shape == (3, 1, height, width)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logits_of_a_quarter_stem_are_as_large_as_the_photos(
    channels: int, height: int, width: int
) -> None:
    logits = network(channels, "batch", "quarter")(photos(3, height, width))
    assert logits.shape == (3, 1, height, width)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(("stem", "multiple"), [("none", 16), ("strided", 32), ("quarter", 64)])
def test_what_the_sides_are_a_multiple_of(stem: Stem, multiple: int) -> None:
    net = network(stem=stem)
    assert net.config.multiple == multiple
    assert net(photos(1, multiple, multiple)).shape == (1, 1, multiple, multiple)
    with pytest.raises(RuntimeError):
        net(photos(1, multiple + multiple // 2, multiple))


@pytest.mark.parametrize(("standardisation", "same"), [("photo", True), ("fixed", False)])
def test_a_photo_s_own_mean_and_spread_take_out_light_and_tint(
    standardisation: Standardisation, same: bool
) -> None:
    torch.manual_seed(0)
    net = UNet(ModelConfig(1, image_size=128, standardisation=standardisation)).eval()
    bright = photos().float()
    gains, tint = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.9, 0.7, 0.5), (5, 9, 2)))
    assert torch.allclose(net(bright), net(bright * gains + tint), atol=0.05) == same
    assert torch.isfinite(net(torch.full((1, 3, 32, 32), 7, dtype=torch.uint8))).all()


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


def test_a_half_stem_halves_the_sides_of_every_block() -> None:
    net = network(2, stem="strided")
    sizes: list[tuple[int, ...]] = []
    for block in (*net.encoder, net.bottleneck, *net.decoder, net.head):
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    net(photos(1, 32, 64))
    down = [(2, 16, 32), (4, 8, 16), (8, 4, 8), (16, 2, 4)]
    assert sizes == [*down, (32, 1, 2), *reversed(down), (1, 32, 64)]


def test_a_quarter_stem_quarters_the_sides_of_every_block() -> None:
    net = network(2, stem="quarter")
    sizes: list[tuple[int, ...]] = []
    assert net.stem is not None
    for block in (net.stem, *net.encoder, net.bottleneck, *net.decoder, net.head):
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    net(photos(1, 64, 128))
    down = [(2, 16, 32), (4, 8, 16), (8, 4, 8), (16, 2, 4)]
    assert sizes == [(2, 16, 32), *down, (32, 1, 2), *reversed(down), (1, 16, 32)]


@pytest.mark.parametrize("stem", ["none", "strided"])
@pytest.mark.parametrize(
    ("width", "most", "expected"),
    [(2, 32, [2, 4, 8, 16, 32]), (2, 8, [2, 4, 8, 8, 8]), (3, 7, [3, 6, 7, 7, 7]), (4, 3, [3] * 5)],
)
def test_channels_are_cut_to_the_most(
    stem: Stem, width: int, most: int, expected: list[int]
) -> None:
    net = network(width, "none", stem, most)
    channels: list[int] = []
    for block in (*net.encoder, net.bottleneck, *net.decoder):
        block.register_forward_hook(lambda _, __, output: channels.append(output.shape[1]))
    assert net(photos()).shape == (2, 1, 32, 32)
    assert channels == expected + expected[-2::-1]


def test_number_of_parameters_of_the_accurate_recipe() -> None:
    def block(*channels: int) -> int:
        """3x3 convolutions without biases, and two numbers a channel for normalisation."""
        return sum(9 * i * o + 2 * o for i, o in itertools.pairwise(channels))

    down = [32, 64, 128, 256, 256]
    encoder = block(3, 32) + sum(
        block(i, o, o) for i, o in itertools.pairwise([32, *down])
    )  # the stem, four blocks and the bottleneck
    decoder = sum(4 * i * o + o + block(2 * o, o, o) for o, i in itertools.pairwise(down))
    expected = encoder + decoder + (4 * 32 * 16 + 16) + (16 + 1)
    model, _ = RECIPES["accurate"]
    net = UNet(model)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected == 5_151_905


@pytest.mark.parametrize(("normalisation", "places"), [("batch", (0, 3)), ("none", (0, 2))])
def test_names_in_a_classic_network_stay(
    normalisation: Normalisation, places: tuple[int, int]
) -> None:
    """Checkpoints of every version are read by them."""
    blocks = [*(f"{part}.{i}" for part in ("encoder", "decoder") for i in range(4)), "bottleneck"]
    names = ["mean", "std", "head.weight", "head.bias"]
    names += [f"upsample.{i}.{name}" for i in range(4) for name in ("weight", "bias")]
    for block, place in itertools.product(blocks, places):
        if normalisation == "none":
            names += [f"{block}.{place}.weight", f"{block}.{place}.bias"]
        else:
            norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            names += [
                f"{block}.{place}.weight",
                *(f"{block}.{place + 1}.{field}" for field in norm),
            ]
    assert sorted(network(2, normalisation).state_dict()) == sorted(names)


def test_a_checkpoint_from_before_there_were_recipes_loads(tmp_path: Path) -> None:
    content = torch.load(saved(tmp_path / "old.pt", seed=5), weights_only=True)
    content["model"] = {name: content["model"][name] for name in OLD_MODEL}
    content["recipe"] = {name: content["recipe"][name] for name in OLD_RECIPE}
    torch.save(content, tmp_path / "old.pt")
    old, new = checkpoints.load(tmp_path / "old.pt"), begun(seed=5)
    assert (old.model, old.recipe) == (new.model, Recipe(seed=5))
    assert torch.equal(old.network()(photos()), new.network()(photos()))


def test_the_skip_connections_carry_something() -> None:
    net = network(2)
    seen: list[torch.Tensor] = []
    net.decoder[-1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    outputs: list[torch.Tensor] = []
    net.encoder[0].register_forward_hook(lambda _, __, output: outputs.append(output))
    net(photos())
    assert torch.equal(seen[0][:, :2], outputs[0])


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


@pytest.mark.parametrize("stem", ["none", "strided", "quarter"])
@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_gradients_reach_every_parameter(normalisation: Normalisation, stem: Stem) -> None:
    net = network(4, normalisation, stem).train()
    net(photos(2, 128, 128)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_begin_as_the_paper_says() -> None:
    layer = network(16).bottleneck[0]  # 9 * 128 inputs of a neuron, and many weights
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("stem", ["none", "strided", "quarter"])
def test_smaller_weights_give_the_same_logits(stem: Stem) -> None:
    """But for the bias of the head, which says how much of a photo is lesion."""
    net, small = network(8, stem=stem).train(), network(8, stem=stem).train()
    for layer in (*net.modules(), *small.modules()):
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-9  # nothing beside the smaller variance, too
    shrink_weights(small)
    assert small.head.bias is not None
    expected = net(photos(2, 128, 128)) + small.head.bias
    assert torch.allclose(small(photos(2, 128, 128)), expected, atol=1e-3)
    assert small.head.bias.sigmoid().item() == pytest.approx(LESION_FRACTION)
    for name in ("encoder.0.0.weight", "bottleneck.3.weight", "decoder.3.3.weight", "head.weight"):
        assert torch.allclose(10 * small.state_dict()[name], net.state_dict()[name])


def test_without_normalisation_no_weight_is_made_smaller() -> None:
    net, same = network(2, "none"), network(2, "none")
    shrink_weights(same)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))


def test_the_recipe_decides_how_weights_begin() -> None:
    he, small = begun().weights, begun(initialisation="small").weights
    assert torch.allclose(10 * small["head.weight"], he["head.weight"])
    assert torch.equal(small["upsample.0.weight"], he["upsample.0.weight"])


def test_the_seed_decides_the_weights() -> None:
    state = torch.get_rng_state()
    one, same, other = begun(seed=1).weights, begun(seed=1).weights, begun(seed=2).weights
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers go on
