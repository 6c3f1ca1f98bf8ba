"""Photos find their masks by name, and both are read at one size."""

from pathlib import Path

import numpy as np
import pytest
from helpers import write_mask
from PIL import Image

from lesionseg.data.discovery import find
from lesionseg.data.pairs import Pair, match_masks, read_pair, read_truth
from lesionseg.errors import LesionsegError, PhotoError


def test_masks_are_matched_by_name_in_any_case() -> None:
    photos = [Path("b.jpg"), Path("A.JPEG"), Path("alone.jpg")]
    masks = [Path("a_Segmentation.png"), Path("B.png"), Path("lost.png")]
    matches = match_masks(photos, masks)
    assert matches.pairs == (
        Pair("A", Path("A.JPEG"), Path("a_Segmentation.png")),
        Pair("b", Path("b.jpg"), Path("B.png")),
    )
    assert matches.problems == ("alone.jpg: no mask", "lost.png: no photo")


@pytest.fixture
def pair_folder(tmp_path: Path) -> Path:
    mask = np.zeros((40, 60), np.uint8)
    mask[:20] = 255
    Image.new("RGB", (60, 40), (250, 100, 50)).save(tmp_path / "a.jpg")
    Image.fromarray(mask).save(tmp_path / "a.png")
    return tmp_path


def test_a_pair_is_read_at_the_size_of_the_network(pair_folder: Path) -> None:
    photo, mask = read_pair(find(pair_folder).split("all")[0], 16)
    assert photo.shape == (16, 16, 3)
    assert (np.abs(photo.astype(int) - (250, 100, 50)) < 4).all()
    assert (mask == (np.arange(16) < 8)[:, np.newaxis]).all()


def test_a_mask_of_another_size_is_refused(pair_folder: Path) -> None:
    Image.new("L", (40, 60)).save(pair_folder / "a.png")
    message = (
        f"^{pair_folder}/a.png: expected a mask of 60x40 pixels, the size of its photo, "
        "got 40x60 .sides"
    )
    with pytest.raises(LesionsegError, match=message):
        read_pair(find(pair_folder).split("all")[0], 16)


def test_swapped_sides_are_called_so(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", np.ones((30, 40), np.bool_))
    pair = Pair("a", tmp_path / "a.jpg", path)
    with pytest.raises(PhotoError, match=r"of 30x40 pixels, .* got 40x30 \(sides swapped: .*EXIF"):
        read_truth(pair, (40, 30))
    with pytest.raises(PhotoError, match=r"got 40x30$"):
        read_truth(pair, (40, 31))
