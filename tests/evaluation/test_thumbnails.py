"""Outlines for a page: where the line runs, and how few letters it takes."""

import base64
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import write_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lesionseg.errors import LesionsegError
from lesionseg.evaluation import thumbnails
from lesionseg.images.arrays import Mask

Ring = list[tuple[int, int]]


def rings(path: str) -> list[Ring]:
    """The corners of each closed line of a path, in units of the grid."""
    assert re.fullmatch(r"(M\d+ \d+(l-?\d+ -?\d+)*z)*", path)
    parts = []
    for line in path.split("z")[:-1]:
        steps = np.array([tuple(map(int, step.split())) for step in re.split("[Ml]", line)[1:]])
        parts.append([(int(x), int(y)) for x, y in steps.cumsum(axis=0)])
    return parts


def filled(path: str, height: int, width: int) -> Mask:
    """What the lines enclose, by the even-odd rule, at the grid's size."""
    columns, rows = thumbnails.grid_size(height, width)
    canvas = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(canvas, [np.array(ring, np.int32) for ring in rings(path)], 1)
    return canvas.astype(bool)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(600, 800, (800, 600)), (767, 1022, (800, 600)), (30, 10, (267, 800)), (1, 5000, (800, 1))],
)
def test_the_grid_has_the_aspect_of_the_photo(
    height: int, width: int, size: tuple[int, int]
) -> None:
    assert thumbnails.grid_size(height, width) == size


def test_a_square_has_four_corners() -> None:
    mask = np.zeros((80, 80), bool)
    mask[20:60, 10:50] = True
    (ring,) = rings(thumbnails.outline(mask))
    assert len(ring) <= 8
    xs, ys = zip(*ring, strict=True)
    assert (min(xs), max(xs)) == pytest.approx((100, 499), abs=2)
    assert (min(ys), max(ys)) == pytest.approx((200, 599), abs=2)


def test_holes_and_parts_have_lines_of_their_own() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:60, 10:60] = True
    mask[30:40, 30:40] = False
    mask[80:90, 80:90] = True
    assert len(rings(thumbnails.outline(mask))) == 3


def test_an_empty_mask_has_no_outline_and_a_full_one_the_frame() -> None:
    assert thumbnails.outline(np.zeros((9, 16), bool)) == ""
    (ring,) = rings(thumbnails.outline(np.ones((9, 16), bool)))
    assert sorted(ring) == [(0, 0), (0, 449), (799, 0), (799, 449)]


@given(
    size=st.tuples(st.integers(64, 1200), st.integers(64, 1200)),
    centre=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    axes=st.tuples(st.floats(0.1, 0.6), st.floats(0.1, 0.6)),
    turn=st.floats(0, 180),
)
def test_a_line_encloses_what_the_mask_does(
    size: tuple[int, int],
    centre: tuple[float, float],
    axes: tuple[float, float],
    turn: float,
) -> None:
    height, width = size
    canvas = np.zeros(size, np.uint8)
    middle = (round(centre[0] * width), round(centre[1] * height))
    radii = (round(axes[0] * width), round(axes[1] * height))
    cv2.ellipse(canvas, middle, radii, turn, 0, 360, 1, -1)
    mask = canvas.astype(bool)
    columns, rows = thumbnails.grid_size(height, width)
    wanted = cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_NEAREST).astype(bool)
    area = filled(thumbnails.outline(mask), height, width)
    lines, _ = cv2.findContours(wanted.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    length = sum(cv2.arcLength(line, closed=True) for line in lines)
    pixel = max(1.0, thumbnails.GRID / max(size))  # in units; the simplified line is 1.5 off
    assert (area ^ wanted).sum() <= (1.5 + pixel) * length + 20


def test_noise_is_cut_to_the_longest_lines() -> None:
    mask = np.random.default_rng(0).random((400, 400)) < 0.2
    mask[100:300, 100:300] = True
    path = thumbnails.outline(mask)
    assert len(rings(path)) == 40
    assert len(path) < 50_000


def test_a_photo_as_a_data_uri(tmp_path: Path) -> None:
    kind, _, data = thumbnails.data_uri(write_photo(tmp_path / "a.jpg"), 20).partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, max(picture.size)) == ("WEBP", 20)
    with pytest.raises(LesionsegError, match="no such file"):
        thumbnails.data_uri(tmp_path / "b.jpg", 20)
