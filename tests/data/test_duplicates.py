"""The same picture under two names."""

import io

import numpy as np
import pytest
from helpers import SIZE, drawing
from numpy.typing import NDArray
from PIL import Image

from lesionseg.data.cache import CachedPairs
from lesionseg.data.duplicates import find_duplicates


def resized(index: int, side: int = 256) -> Image.Image:
    return Image.fromarray(drawing(index)[0]).resize((side, side))


def cached(name: str, *photos: Image.Image) -> CachedPairs:
    arrays: NDArray[np.uint8] = np.stack([np.asarray(photo.resize((256, 256))) for photo in photos])
    ids = tuple(f"{name}{index}" for index in range(len(photos)))
    return CachedPairs(arrays, arrays[..., 0], ids, (), name)


@pytest.mark.parametrize(("side", "quality"), [(256, 95), (256, 60), (200, 75)])
def test_a_picture_saved_anew_is_found(side: int, quality: int) -> None:
    file = io.BytesIO()
    resized(3, side).save(file, "JPEG", quality=quality)
    training = cached("t", *(resized(index) for index in range(8)))
    validation = cached("v", resized(9), Image.open(file))
    assert find_duplicates(training, validation) == [("t3", "v1")]


def test_other_pictures_are_not() -> None:
    training = cached("t", *(resized(index) for index in range(20)))
    validation = cached("v", *(resized(index) for index in range(20, 30)))
    assert find_duplicates(training, validation) == []
    assert SIZE > 17  # the smallest network's photos are larger than the hash
