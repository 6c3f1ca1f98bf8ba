"""Measurements, on drawn shapes of known size."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask
from lesionseg.segmentation.measurements import Measurements, measure

NAMES = {field.name for field in dataclasses.fields(Measurements)}
shifts = st.floats(-0.5, 0.5)
angles = st.floats(0, math.pi)
masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def ellipse(a: float, b: float, angle: float = 0, x: float = 0, y: float = 0) -> Mask:
    """An ellipse of the half axes `a` >= `b`, turned, on a frame that it does not reach."""
    along, across = turned(math.ceil(a) + 3, angle, x, y)
    inside: Mask = (along / a) ** 2 + (across / b) ** 2 <= 1
    return inside


def rectangle(length: float, width: float, angle: float = 0, x: float = 0, y: float = 0) -> Mask:
    along, across = turned(math.ceil(math.hypot(length, width) / 2) + 3, angle, x, y)
    inside: Mask = (np.abs(along) < length / 2) & (np.abs(across) < width / 2)
    return inside


def turned(far: int, angle: float, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    down, right = np.mgrid[-far : far + 1, -far : far + 1]
    cos, sin = math.cos(angle), math.sin(angle)
    return (right - x) * cos + (down - y) * sin, (down - y) * cos - (right - x) * sin


def ellipse_perimeter(a: float, b: float) -> float:
    """Ramanujan's second formula, right to 1e-5 for the shapes here."""
    h = ((a - b) / (a + b)) ** 2
    return math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))


@given(st.floats(20, 80), shifts, shifts)
def test_a_disc(radius: float, x: float, y: float) -> None:
    measured = measure(ellipse(radius, radius, 0, x, y))
    middle = math.ceil(radius) + 3
    assert measured.area_px == pytest.approx(math.pi * radius**2, rel=0.02)
    assert measured.perimeter_px == pytest.approx(2 * math.pi * radius, rel=0.015)
    assert measured.longest_diameter_px == pytest.approx(2 * radius, abs=1 + 1e-9)
    assert measured.compactness == pytest.approx(1, abs=0.02)
    assert measured.centroid_x_px == pytest.approx(middle + x, abs=0.2)
    assert measured.centroid_y_px == pytest.approx(middle + y, abs=0.2)
    assert measured.asymmetry_long_axis == pytest.approx(0, abs=0.03)
    assert measured.asymmetry_short_axis == pytest.approx(0, abs=0.03)
    assert not measured.touches_frame


@given(st.floats(40, 90), st.floats(0.4, 0.8), angles, shifts, shifts)
def test_an_ellipse_at_every_angle(
    a: float, flatness: float, angle: float, x: float, y: float
) -> None:
    b = a * flatness
    measured = measure(ellipse(a, b, angle, x, y))
    assert measured.area_px == pytest.approx(math.pi * a * b, rel=0.03)
    assert measured.perimeter_px == pytest.approx(ellipse_perimeter(a, b), rel=0.02)
    assert measured.longest_diameter_px == pytest.approx(2 * a, abs=1.1)
    assert measured.compactness == pytest.approx(
        ellipse_perimeter(a, b) ** 2 / (4 * math.pi**2 * a * b), rel=0.04
    )
    assert measured.asymmetry_long_axis == pytest.approx(0, abs=0.05)
    assert measured.asymmetry_short_axis == pytest.approx(0, abs=0.05)


@given(st.floats(100, 160), angles, shifts, shifts)
def test_a_square_at_every_angle(size: float, angle: float, x: float, y: float) -> None:
    measured = measure(rectangle(size, size, angle, x, y))
    assert measured.area_px == pytest.approx(size**2, rel=0.025)
    side = math.sqrt(measured.area_px)  # as drawn
    assert measured.perimeter_px == pytest.approx(4 * side, rel=0.02)
    assert measured.longest_diameter_px == pytest.approx(side * math.sqrt(2), abs=2)
    assert measured.compactness == pytest.approx(4 / math.pi, rel=0.04)


def test_two_discs_are_measured_as_one() -> None:
    mask = np.zeros((100, 220), bool)
    mask[4:91, 3:90] = mask[4:91, 113:200] = ellipse(40, 40)
    measured = measure(mask)
    disc = measure(ellipse(40, 40))
    assert measured.area_px == 2 * disc.area_px
    assert measured.perimeter_px == pytest.approx(2 * disc.perimeter_px)
    assert measured.longest_diameter_px == pytest.approx(110 + 81)
    assert measured.compactness == pytest.approx(2, abs=0.02)  # (2 P)^2 / (2 A)
    assert (measured.box_x_px, measured.box_y_px) == (6, 7)
    assert (measured.box_width_px, measured.box_height_px) == (191, 81)
    assert (measured.centroid_x_px, measured.centroid_y_px) == pytest.approx((101, 47))
    assert measured.asymmetry_long_axis == pytest.approx(0, abs=1e-9)
    assert measured.asymmetry_short_axis == pytest.approx(0, abs=1e-9)


def test_a_hole_has_a_border_too() -> None:
    ring = ellipse(60, 60)
    ring[33:94, 33:94] &= ~ellipse(27, 27)
    measured = measure(ring)
    assert measured.perimeter_px == pytest.approx(2 * math.pi * (60 + 27), rel=0.01)
    assert measured.area_px == pytest.approx(math.pi * (60**2 - 27**2), rel=0.01)


@pytest.mark.parametrize("angle", [0, 0.4, 1.2, 2.9])
def test_half_an_ellipse_is_symmetric_about_one_axis_only(angle: float) -> None:
    along, _ = turned(123, angle, 0.1, 0.2)
    measured = measure(ellipse(120, 40, angle, 0.1, 0.2) & (along > 0))
    assert measured.asymmetry_long_axis == pytest.approx(0, abs=0.01)
    # Folded at its centroid, 4 a / (3 pi) from the cut, in units of the half axis a:
    x = np.linspace(-1, 1, 200_001) + 4 / (3 * math.pi)
    there, mirrored = (
        np.where((at > 0) & (at < 1), np.sqrt((1 - at**2).clip(0)), 0)
        for at in (x, 8 / (3 * math.pi) - x)
    )
    expected = 1 - float(np.minimum(there, mirrored).sum() / there.sum())
    assert 0.1 < expected < 0.5
    assert measured.asymmetry_short_axis == pytest.approx(expected, abs=0.01)


def test_a_parallelogram_is_symmetric_about_no_axis() -> None:
    """Half turned it is itself, so that both folds miss by the same."""
    down, right = np.mgrid[-60:61, -120:121]
    measured = measure((np.abs(down) <= 40) & (np.abs(right - down) <= 40))
    assert measured.asymmetry_long_axis == pytest.approx(measured.asymmetry_short_axis, abs=0.01)
    assert measured.asymmetry_long_axis is not None
    assert measured.asymmetry_long_axis > 0.05


def test_the_longer_axis_comes_first() -> None:
    """A long wedge is symmetric about its length, whichever way it lies."""
    down, right = np.mgrid[-30:31, :150]
    wedge = np.abs(down) <= (150 - right) / 6
    for lying in (wedge, wedge.T, wedge[:, ::-1], np.ascontiguousarray(wedge.T[::-1])):
        measured = measure(lying)
        assert measured.asymmetry_long_axis == pytest.approx(0, abs=0.01)
        assert measured.asymmetry_short_axis == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("length", "width"), [(1, 1), (7, 1), (7, 5), (300, 200)])
def test_a_box_by_hand(length: int, width: int) -> None:
    mask = np.zeros((400, 500), bool)
    mask[20 : 20 + width, 30 : 30 + length] = True
    measured = measure(mask)
    assert measured.area_px == length * width
    assert measured.longest_diameter_px == pytest.approx(math.hypot(length, width - 1))
    assert (measured.box_x_px, measured.box_y_px) == (30, 20)
    assert (measured.box_width_px, measured.box_height_px) == (length, width)
    assert measured.centroid_x_px == pytest.approx(30 + (length - 1) / 2)
    assert measured.centroid_y_px == pytest.approx(20 + (width - 1) / 2)
    assert measured.frame_share == length * width / 200_000
    assert measured.asymmetry_long_axis == pytest.approx(0, abs=1e-6)
    assert measured.asymmetry_short_axis == pytest.approx(0, abs=1e-6)


def test_nothing() -> None:
    measured = measure(np.zeros((30, 40), bool), 0.0, 0.1)
    assert measured == Measurements(
        area_px=0,
        area_mm2=0,
        perimeter_px=0,
        perimeter_mm=0,
        longest_diameter_px=0,
        longest_diameter_mm=0,
        box_x_px=None,
        box_y_px=None,
        box_width_px=0,
        box_height_px=0,
        centroid_x_px=None,
        centroid_y_px=None,
        asymmetry_long_axis=None,
        asymmetry_short_axis=None,
        compactness=None,
        frame_share=0,
        touches_frame=False,
        quality=0,
        mm_per_pixel=0.1,
    )


def test_all_of_it() -> None:
    measured = measure(np.ones((300, 400), bool))
    assert measured.touches_frame
    assert measured.frame_share == 1
    assert measured.perimeter_px == pytest.approx(1400, rel=0.01)  # the frame is its border


@pytest.mark.parametrize("edge", range(4))
def test_touching_the_frame(edge: int) -> None:
    mask = np.zeros((9, 11), bool)
    mask[1:4, 2:5] = True
    assert not measure(mask).touches_frame
    sides = np.rot90(mask, edge)
    assert not measure(sides).touches_frame
    assert measure(sides[1:] if edge == 0 else np.rot90(mask[1:], edge)).touches_frame


@given(st.floats(0.001, 10))
def test_millimetres(scale: float) -> None:
    mask = ellipse(30, 20, 0.7)
    plain, scaled = measure(mask), measure(mask, mm_per_pixel=scale)
    assert plain.area_mm2 is plain.perimeter_mm is plain.longest_diameter_mm is None
    assert scaled.area_mm2 == pytest.approx(plain.area_px * scale**2)
    assert scaled.perimeter_mm == pytest.approx(plain.perimeter_px * scale)
    assert scaled.longest_diameter_mm == pytest.approx(plain.longest_diameter_px * scale)
    same = {"area_mm2", "perimeter_mm", "longest_diameter_mm", "mm_per_pixel"}
    for name in NAMES - same:
        assert getattr(scaled, name) == getattr(plain, name)


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_no_scale(scale: float) -> None:
    with pytest.raises(LesionsegError, match="millimetres per pixel: expected more than 0, got"):
        measure(np.ones((3, 3), bool), mm_per_pixel=scale)


@given(masks, st.integers(0, 5), st.integers(0, 5))
def test_moved_it_measures_the_same(mask: Mask, right: int, down: int) -> None:
    here = measure(mask)
    there = measure(np.pad(mask, ((down, 1), (right, 2))))
    place = {"box_x_px", "box_y_px", "centroid_x_px", "centroid_y_px"}
    for name in NAMES - place - {"frame_share", "touches_frame"}:
        assert getattr(there, name) == getattr(here, name)
    if here.box_x_px is None or here.centroid_x_px is None or here.centroid_y_px is None:
        assert here.area_px == 0
        return
    assert there.box_x_px == here.box_x_px + right
    assert there.centroid_x_px == pytest.approx(here.centroid_x_px + right)
    assert there.centroid_y_px == pytest.approx(here.centroid_y_px + down)


@given(masks)
def test_turned_and_mirrored_it_measures_the_same(mask: Mask) -> None:
    here = measure(mask)
    for other in (np.rot90(mask), mask.T, mask[:, ::-1]):
        there = measure(other)
        for name in ("area_px", "frame_share", "touches_frame"):
            assert getattr(there, name) == getattr(here, name)
        for name in ("perimeter_px", "longest_diameter_px", "compactness"):
            assert getattr(there, name) == pytest.approx(getattr(here, name))


@given(st.floats(30, 50), st.floats(0.5, 0.9), angles, st.sampled_from([2, 3]))
def test_larger_it_has_the_same_shape(a: float, flatness: float, angle: float, times: int) -> None:
    """Drawn larger, not its pixels repeated."""
    small, large = (measure(ellipse(k * a, k * a * flatness, angle)) for k in (1, times))
    assert large.area_px == pytest.approx(times**2 * small.area_px, rel=0.03)
    assert large.perimeter_px == pytest.approx(times * small.perimeter_px, rel=0.02)
    assert large.longest_diameter_px == pytest.approx(times * small.longest_diameter_px, abs=4)
    assert large.compactness == pytest.approx(small.compactness, rel=0.03)


@given(masks)
def test_it_is_json_and_within_its_ranges(mask: Mask) -> None:
    measured = measure(mask, 0.5)
    parsed = json.loads(json.dumps(dataclasses.asdict(measured)))
    assert parsed == dataclasses.asdict(measured)
    assert all(type(value) in (int, float, bool, type(None)) for value in parsed.values())
    assert measured.area_px == mask.sum()
    assert measured.longest_diameter_px <= math.hypot(*mask.shape) + 1
    for share in (measured.asymmetry_long_axis, measured.asymmetry_short_axis):
        assert share is None if not mask.any() else share is not None and 0 <= share <= 1


def test_the_mask_is_left_as_it_was() -> None:
    mask = ellipse(20, 10)
    before = mask.copy()
    mask.flags.writeable = False
    measure(mask)
    assert (mask == before).all()


@pytest.mark.parametrize("shape", [(50, 40_000), (2600, 3000)])
def test_large_masks(shape: tuple[int, int]) -> None:
    """Their asymmetry is that of the same shape, smaller."""
    height, width = shape
    mask = np.zeros(shape, bool)
    mask[height // 10 : -height // 10, width // 10 :] = True
    mask[: height // 2, : width // 2] = False  # an L
    small = np.zeros((260, 300), bool)
    small[26:-26, 30:] = True
    small[:130, :150] = False
    measured, expected = measure(mask), measure(small)
    assert measured.longest_diameter_px > 0.8 * width
    if height > 50:
        assert measured.asymmetry_long_axis == pytest.approx(expected.asymmetry_long_axis, abs=0.01)
        assert measured.asymmetry_short_axis == pytest.approx(
            expected.asymmetry_short_axis, abs=0.01
        )
