"""One lesion of a mask, against a flood fill that is written out here."""

from functools import cache

import numpy as np
import pytest
from helpers import begun, torch_network
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionseg.images.arrays import Mask, Probabilities
from lesionseg.images.resize import enlarge, enlarged_above
from lesionseg.segmentation.postprocess import keep_largest_region
from lesionseg.segmentation.segmenter import Segmenter

Pixel = tuple[int, int]
THRESHOLDS = (0.0, 0.25, 0.5, 0.9, 1.0)
maps = arrays(
    np.float32,
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    elements=st.one_of(st.sampled_from((*THRESHOLDS, 0.6)), st.floats(0, 1, width=32)),
)


def regions(mask: Mask) -> list[set[Pixel]]:
    """The pixels of each region; neighbours share a side."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    connected = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            region.add((row, column))
            beside = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)}
            edge += beside & left
            left -= beside
        connected.append(region)
    return connected


def holes(mask: Mask) -> list[set[Pixel]]:
    """The background's regions that do not reach the frame, all of them shifted by (1, 1)."""
    return [region for region in regions(~np.pad(mask, 1)) if (0, 0) not in region]


def drawn(region: set[Pixel], like: Mask) -> Mask:
    mask = np.zeros_like(like)
    mask[tuple(zip(*region, strict=True))] = True
    return mask


def largest(mask: Mask) -> list[Mask]:
    """The largest region of a mask; several where they are of one size."""
    connected = regions(mask)
    most = max(map(len, connected), default=0)
    return [drawn(region, mask) for region in connected if len(region) == most]


def filled(mask: Mask) -> Mask:
    result = np.pad(mask, 1)
    for hole in holes(mask):
        result |= drawn(hole, result)
    return result[1:-1, 1:-1]


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_one_region_without_holes_is_left(mask: Mask) -> None:
    lesion = keep_largest_region(mask.copy())
    assert lesion.dtype == np.bool_
    assert lesion.shape == mask.shape
    assert len(regions(lesion)) == mask.any()
    assert holes(lesion) == []
    if mask.any():
        assert any((filled(region) == lesion).all() for region in largest(mask))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("#.## #.## ....", "..## ..## ....", id="the larger of two"),
        pytest.param("##. ##. ..#", "##. ##. ...", id="a corner joins nothing"),
        pytest.param("#.# ... #.#", "#.. ... ...", id="the first of equal ones"),
        pytest.param("### #.# ###", "### ### ###", id="a hole"),
        pytest.param("##### #...# #.#.# #...# #####", " ".join(["#####"] * 5), id="island in it"),
        pytest.param("####. #.##. ##.#. .###.", "####. ####. ####. .###.", id="holes, two"),
        pytest.param("### #.# #.#", "### #.# #.#", id="cut by the frame below"),
        pytest.param(".### ##.# .###", ".### #### .###", id="hole, but no corner of the frame"),
        pytest.param("..#. .##. ##.. ....", "..#. .##. ##.. ....", id="a corner cut off"),
        pytest.param("#### ####", "#### ####", id="all of it"),
        pytest.param(".... ....", ".... ....", id="nothing"),
        pytest.param("#", "#", id="one pixel"),
    ],
)
def test_by_hand(before: str, after: str) -> None:
    result = keep_largest_region(
        np.array([[pixel == "#" for pixel in row] for row in before.split()])
    )
    assert " ".join("".join(".#"[int(pixel)] for pixel in row) for row in result) == after


@cache
def network(threshold: float) -> Segmenter:
    return Segmenter(torch_network(begun()), threshold)


BRIDGE = np.array([[0.9, 0, 0, 0.9], [0.9, 0.6, 0.6, 0.9], [0.9, 0, 0, 0.9]], np.float32)
BAY = np.array([[0.9, 0.9, 0.9], [0.9, 0, 0.9], [0.9, 0.4, 0.9], [0.9, 0.4, 0.9]], np.float32)


@example(probabilities=BRIDGE, size=(6, 8), threshold=0.5)  # breaks when it is enlarged
@example(probabilities=BAY, size=(8, 6), threshold=0.5)  # closes when it is enlarged
@example(probabilities=np.array([[0.9]], np.float32), size=(7, 1), threshold=0.9)  # rounded up
@given(maps, st.tuples(st.integers(1, 20), st.integers(1, 20)), st.sampled_from(THRESHOLDS))
def test_so_it_is_at_the_photos_size(
    probabilities: Probabilities, size: tuple[int, int], threshold: float
) -> None:
    result = network(threshold).at_size(probabilities, *size)
    above = enlarged_above(probabilities, *size, threshold)
    assert (result.probabilities == enlarge(probabilities, *size)).all()
    # A probability at the threshold may be rounded to either side of it.
    certain = np.abs(result.probabilities - threshold) > 1e-6
    assert (above == (result.probabilities > threshold))[certain].all()
    assert len(regions(result.mask)) == above.any()
    assert holes(result.mask) == []
    if above.any():
        assert any((filled(region) == result.mask).all() for region in largest(above))
