"""Photos moved and recoloured: the mask goes along, and each bound means what it says."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lesionseg.data.augmentation import BOUNDS, Bounds, augment

SIZE = 64
FULL, WIDE = BOUNDS["full"], BOUNDS["wide"]
TURNS = replace(FULL, zoom=(1.0, 1.0), stretch=0.0, shift=0.0)
PLAIN = replace(FULL, brightness=0.0, tint=0.0, contrast=0.0, saturation=0.0, hue=0.0)
seeds = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3)


def disc(
    x: float = 0.0, y: float = 0.0, radius: float = 0.4, shape: tuple[int, int] = (SIZE, SIZE)
) -> Tensor:
    """(1, 1, H, W) uint8: a mask about (x, y), both -1 to 1 across the photo."""
    height, width = shape
    rows = (torch.arange(height) * 2 + 1) / height - 1
    columns = (torch.arange(width) * 2 + 1) / width - 1
    inside = (rows[:, None] - y).square() + (columns - x).square() < radius**2
    return inside.to(torch.uint8)[None, None]


def shown(masks: Tensor) -> Tensor:
    """(B, 3, H, W) uint8: photos that are red where the mask is."""
    return torch.cat([masks * 200 + 20, masks * 0 + 90, masks * 0 + 60], dim=1)


def noise(count: int = 4, low: int = 0, high: int = 256) -> Tensor:
    """(B, 3, SIZE, SIZE) uint8 of no pattern, low to high - 1."""
    values = np.random.default_rng(1).integers(low, high, (count, 3, SIZE, SIZE), np.uint8)
    return torch.from_numpy(values)


def dice(one: Tensor, other: Tensor) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def centre(mask: Tensor) -> tuple[float, float]:
    """Of a (H, W) mask, -1 to 1 from left to right and from top to bottom."""
    height, width = mask.shape
    y = (mask.sum(1) * ((torch.arange(height) * 2 + 1) / height - 1)).sum() / mask.sum()
    x = (mask.sum(0) * ((torch.arange(width) * 2 + 1) / width - 1)).sum() / mask.sum()
    return x.item(), y.item()


@examples(30)
@given(seeds, st.integers(16, 40))
def test_the_seed_decides(seed: list[int], size: int) -> None:
    photos, masks = noise(2), disc().expand(2, -1, -1, -1)
    state = torch.get_rng_state()
    one, same = augment(photos, masks, size, seed), augment(photos, masks, size, seed)
    other = augment(photos, masks, size, [*seed, 1])
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[0][0] - one[0][1], torch.zeros(3, size, size))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers stay


@examples(50)
@given(
    seeds,
    st.integers(1, 3),
    st.integers(8, 80),
    st.sampled_from([(64, 64), (48, 80)]),
    st.sampled_from([FULL, WIDE]),
)
def test_shapes_types_and_ranges(
    seed: list[int], count: int, size: int, shape: tuple[int, int], bounds: Bounds
) -> None:
    masks = torch.cat([disc(0.3, -0.2, shape=shape)] * count)
    photos = torch.cat([masks * 255] * 3, dim=1)  # nothing but the ends of the range
    moved, truth = augment(photos, masks, size, seed, bounds=bounds)
    assert (moved.shape, truth.shape) == ((count, 3, size, size), (count, 1, size, size))
    assert moved.dtype == truth.dtype == torch.float32
    assert moved.min() >= 0
    assert moved.max() <= 255
    assert truth.min() >= 0
    assert truth.max() <= 1
    if bounds is FULL:
        assert truth.max() > 0.9  # the lesion never leaves the photo


def test_photos_of_a_batch_are_changed_each_in_its_own_way() -> None:
    photos, masks = noise(1).expand(3, -1, -1, -1), disc(0.3).expand(3, -1, -1, -1)
    moved, truth = augment(photos, masks, SIZE, [0])
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert not torch.equal(moved[one], moved[other])
        assert not torch.equal(truth[one], truth[other])


@examples(30)
@given(seeds, st.integers(2, 6), st.integers(1, 3), st.sampled_from([24, SIZE]))
def test_a_share_of_a_batch_is_changed_as_in_the_whole_batch(
    seed: list[int], count: int, processes: int, size: int
) -> None:
    photos, masks = noise(count), torch.cat([disc(0.1 * step) for step in range(count)])
    moved, truth = augment(photos, masks, size, seed)
    for rank in range(min(processes, count)):
        share = slice(rank, None, processes)
        part = augment(photos[share], masks[share], size, seed, count, share)
        assert part[0].shape == moved[share].shape
        assert torch.allclose(part[0], moved[share], atol=1e-3)
        assert torch.allclose(part[1], truth[share], atol=1e-5)


def test_the_input_stays_as_it_is() -> None:
    photos, masks = noise(2), disc().repeat(2, 1, 1, 1)
    before = photos.clone(), masks.clone()
    augment(photos, masks, SIZE, [0])
    augment(photos.float(), floats := masks.float(), SIZE, [0])
    assert torch.equal(photos, before[0])
    assert torch.equal(masks, before[1])
    assert torch.equal(floats, masks.float())


def test_a_mask_of_bytes_is_as_one_of_floats() -> None:
    one, other = (augment(noise(1), mask, SIZE, [0])[1] for mask in (disc(), disc().float()))
    assert torch.equal(one, other)


@examples(30)
@given(seeds, st.sampled_from([32, 48, 64]), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_the_mask_moves_with_the_photo(seed: list[int], size: int, x: float, y: float) -> None:
    masks = torch.cat([disc(x, y), disc(y, -x)])
    moved, truth = augment(shown(masks), masks, size, seed, bounds=PLAIN)
    for photo, mask in zip(moved, truth, strict=True):
        assert dice(photo[0] > 120, mask[0] > 0.5) > 0.97
        assert photo[1:].amax((1, 2)).tolist() == pytest.approx([90, 60], abs=0.01)


@examples(30)
@given(seeds)
def test_a_turn_moves_a_disc_about_the_centre(seed: list[int]) -> None:
    masks = torch.cat([disc(), disc(0.3, 0.4, 0.2)])  # too far from a corner for a reflection
    _, truth = augment(noise(2), masks, SIZE, seed, bounds=TURNS)
    areas = masks.sum((1, 2, 3)).tolist()
    assert truth.sum((1, 2, 3)).tolist() == pytest.approx(areas, rel=0.02)
    assert centre(truth[0, 0]) == pytest.approx((0, 0), abs=0.01)
    assert math.hypot(*centre(truth[1, 0])) == pytest.approx(0.5, abs=0.01)


def test_turns_go_all_the_way_round_and_half_of_them_are_mirrored() -> None:
    """Two discs at a right angle, as seen from the centre."""
    count = 200
    masks = torch.cat([disc(0.5, 0, 0.2)] * count), torch.cat([disc(0, 0.5, 0.2)] * count)
    first, second = (augment(noise(count), part, 32, [0], bounds=TURNS)[1][:, 0] for part in masks)
    turns = []
    mirrored = 0
    for one, other in zip(first, second, strict=True):
        (a, b), (c, d) = centre(one), centre(other)
        turns.append(math.atan2(b, a))
        mirrored += a * d - b * c < 0
    quarters = np.histogram(turns, 4, (-math.pi, math.pi))[0]
    assert min(quarters) > count / 4 / 2
    assert 0.35 < mirrored / count < 0.65


@pytest.mark.parametrize("zoom", [0.7, 0.5, 1.25])
def test_zoom_is_the_share_of_the_side_that_is_seen(zoom: float) -> None:
    mask = disc(radius=0.2)
    _, truth = augment(noise(1), mask, SIZE, [0], bounds=replace(TURNS, zoom=(zoom, zoom)))
    assert truth.sum().item() == pytest.approx(mask.sum().item() / zoom**2, rel=0.03)


@examples(30)
@given(seeds)
def test_a_stretch_keeps_the_area(seed: list[int]) -> None:
    _, truth = augment(noise(1), disc(), SIZE, seed, bounds=replace(TURNS, stretch=0.2))
    assert truth.sum().item() == pytest.approx(disc().sum().item(), rel=0.03)


def test_a_stretch_makes_an_ellipse() -> None:
    stretched = replace(TURNS, stretch=0.2)
    _, truth = augment(noise(20), torch.cat([disc()] * 20), SIZE, [0], bounds=stretched)
    lines = truth[:, 0].sum(1).amax(1), truth[:, 0].sum(2).amax(1)  # diameters of height and width
    ratios = (lines[0] / lines[1]).log()
    assert 0.2 < ratios.abs().max() < 0.45


def test_a_shift_is_of_half_the_side() -> None:
    shifted = replace(TURNS, shift=0.15)
    _, truth = augment(noise(100), torch.cat([disc()] * 100), SIZE, [0], bounds=shifted)
    far = [math.hypot(*centre(mask[0])) for mask in truth]
    assert 0.15 < max(far) < 0.15 * math.sqrt(2) + 0.01


def recoloured(photos: Tensor, seed: list[int], **values: Any) -> tuple[Tensor, Tensor]:
    """Photos moved alike: not recoloured, and with these bounds of colours."""
    plain, other = (
        augment(photos, photos[:, :1], 32, seed, bounds=bounds)[0]
        for bounds in (PLAIN, replace(PLAIN, **values))
    )
    return plain, other


@examples(30)
@given(seeds)
def test_grey_stays_grey(seed: list[int]) -> None:
    grey = noise()[:, :1].expand(-1, 3, -1, -1)
    plain, other = recoloured(grey, seed, saturation=0.35, hue=0.5)
    assert torch.allclose(other, plain, atol=0.01)


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_colours_change(name: str) -> None:
    plain, other = recoloured(noise(low=80, high=176), [0], **{name: 0.35})
    assert (other - plain).abs().amax((1, 2, 3)).min() > 1


@examples(30)
@given(seeds)
def test_contrast_keeps_the_mean(seed: list[int]) -> None:
    plain, other = recoloured(noise(low=80, high=176), seed, contrast=0.25)
    assert torch.allclose(other.mean((2, 3)), plain.mean((2, 3)), atol=0.01)
    factor = (other.std((2, 3)) / plain.std((2, 3))).log()
    assert torch.allclose(factor, factor[:, :1].expand(-1, 3), atol=1e-3)
    assert factor.abs().max() < 0.25 + 1e-3
    assert factor.abs().max() > 1e-4


@examples(30)
@given(seeds)
def test_brightness_is_the_same_for_all_channels_and_tint_is_not(seed: list[int]) -> None:
    photos = noise(low=80, high=176)
    for name, bound in (("brightness", 25.0), ("tint", 12.0)):
        plain, other = recoloured(photos, seed, **{name: bound})
        added = (other - plain).mean((2, 3))
        assert torch.allclose(other - plain, added[:, :, None, None], atol=0.01)
        assert added.abs().max() < bound + 0.01
        alike = torch.allclose(added, added[:, :1].expand(-1, 3), atol=0.01)
        assert alike == (name == "brightness")


def changed(photos: Tensor, count: int = 200) -> Tensor:
    """How far "wide" takes (1, 3, H, W) beyond moving and recolouring it: a mean for each try."""
    batch = photos.expand(count, -1, -1, -1)
    still = replace(WIDE, zoom=(1.0, 1.0), stretch=0.0, shift=0.0)
    one, other = (
        augment(batch, batch[:, :1], SIZE, [3], bounds=replace(still, camera=camera))[0]
        for camera in (False, True)
    )
    return (one - other).abs().mean((1, 2, 3))


def test_another_camera_changes_most_photos_and_no_mask() -> None:
    skin = torch.tensor([200, 150, 130], dtype=torch.uint8).view(1, 3, 1, 1)
    change = changed(skin.expand(1, 3, SIZE, SIZE))
    assert (change > 2).float().mean() > 0.7
    masks = disc().expand(8, -1, -1, -1)
    one, other = (
        augment(noise(8), masks, SIZE, [1], bounds=replace(WIDE, camera=camera))[1]
        for camera in (False, True)
    )
    assert torch.equal(one, other)


def test_darker_skin_is_among_what_wide_gives() -> None:
    """Fair skin that becomes as dark as photos of dark skin have it, and none that is black."""
    skin = torch.tensor([200, 150, 130], dtype=torch.uint8).view(1, 3, 1, 1)
    batch = skin.expand(300, 3, SIZE, SIZE)
    moved, _ = augment(batch, batch[:, :1], SIZE, [0], bounds=WIDE)
    red, green, blue = moved.median(3).values.median(2).values.T
    dark = (red < 110) & (green < 90)
    assert 0.02 < dark.float().mean() < 0.3
    assert ((red > blue) | ~dark).float().mean() > 0.95
    assert red.min() > 20


@examples(10)
@given(seeds)
def test_wide_depends_on_the_seed_alone(seed: list[int]) -> None:
    one, same = (
        augment(noise(2), disc().expand(2, -1, -1, -1), SIZE, seed, bounds=WIDE) for _ in "12"
    )
    assert torch.equal(one[0], same[0])
