"""Masks as PNG: what other programs read is what was written, also of many rows without lesion."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lesionseg.images.arrays import Mask
from lesionseg.images.png import mask_png

HEIGHT, WIDTH = 3000, 1500  # of which 700 rows are a million zeros


def lesion(first: int, last: int) -> Mask:
    """A mask with noise in some of its rows."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[first:last, 100:-300] = np.random.default_rng(0).random((last - first, WIDTH - 400)) < 0.4
    return mask


@pytest.mark.parametrize("one_bit", [False, True])
@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 0), (0, 1), (2999, 3000), (0, 3000), (1400, 1500), (900, 1000), (2200, 2300), (40, 2990)],
)
def test_other_programs_read_it(first: int, last: int, one_bit: bool) -> None:
    mask = lesion(first, last)
    content = mask_png(mask, one_bit=one_bit)
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_opencv is not None
    assert (by_opencv == mask * np.uint8(255)).all()
    with Image.open(io.BytesIO(content)) as image:
        assert (np.asarray(image.convert("L")) == mask * np.uint8(255)).all()
    with Image.open(io.BytesIO(content)) as image:
        image.verify()  # the checksums of all chunks


def test_a_view_of_a_larger_mask() -> None:
    whole = lesion(100, 200)
    part = whole[50:150, 80:1400:3]
    content = mask_png(part)
    with Image.open(io.BytesIO(content)) as image:
        assert (np.asarray(image) == part * np.uint8(255)).all()


def test_rows_without_lesion_take_a_byte_per_thousand() -> None:
    assert len(mask_png(lesion(0, 0))) < 2 * HEIGHT * WIDTH / 1000
