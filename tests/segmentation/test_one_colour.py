"""Photos of one colour, on which any mask means nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import Command, drawing, saved, segmenter, write_pairs, write_photo
from PIL import Image

from lesionseg.data import check
from lesionseg.images.arrays import Photo
from lesionseg.images.photos import ONE_COLOUR_BELOW, is_of_one_colour, read_photo_shrunk

DATA = os.environ.get("LESIONSEG_TEST_DATA", "")
COLOURS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (201, 150, 130)]


def plain(colour: tuple[int, int, int], noise: int = 0) -> Photo:
    """A photo of a colour, with levels added of which each pixel has up to so many."""
    rng = np.random.default_rng(3)
    levels = rng.integers(-noise, noise, (50, 60, 3), endpoint=True)
    return (np.array(colour) + levels).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 1, 2])
@pytest.mark.parametrize("colour", COLOURS)
def test_one_colour_with_and_without_noise(colour: tuple[int, int, int], noise: int) -> None:
    assert is_of_one_colour(plain(colour, noise))
    assert segmenter()(plain(colour, noise)).one_colour
    (result,) = segmenter().map([plain(colour, noise)])
    assert getattr(result, "one_colour", None) is True


def test_what_is_not_of_one_colour() -> None:
    for index in range(8):
        assert not is_of_one_colour(drawing(index)[0])
        assert not segmenter()(drawing(index)[0]).one_colour
    ramp = np.zeros((50, 60, 3), np.uint8)
    ramp[..., 2] = np.linspace(100, 120, 60)  # of blue alone
    assert not is_of_one_colour(ramp)


@pytest.mark.skipif(not DATA, reason="LESIONSEG_TEST_DATA names no real photos")
@pytest.mark.parametrize("size", [32, 256])
def test_no_real_photo_is_of_one_colour(size: int) -> None:
    paths = sorted((Path(DATA) / "official-val-large" / "images").iterdir())
    spreads = [read_photo_shrunk(path, size)[0].std((0, 1)).max() for path in paths]
    assert len(spreads) == 98
    assert min(spreads) > 1.5 * ONE_COLOUR_BELOW


def test_segment_says_so_and_goes_on(tmp_path: Path, lesionseg: Command) -> None:
    network, black = saved(tmp_path / "a.pt", width=2, seed=3), tmp_path / "black.png"
    Image.fromarray(plain((0, 0, 0))).save(black)
    photo, masks = write_photo(tmp_path / "photo.png"), tmp_path / "masks"
    ended = lesionseg("segment", black, photo, "-o", masks, "-c", network, "--json")
    first, second = map(json.loads, ended.out.splitlines())
    assert (ended.status, first["one_colour"], "one_colour" in second) == (0, True, False)
    said = "of one colour, so that its mask means nothing: "
    lines = [line for line in ended.err.splitlines() if said in line]
    assert [line.partition(said)[2] for line in lines] == [str(black)]
    assert "photos: 2 done, 0 failed, 0 skipped" in ended.err
    assert "1 of one colour" in ended.err
    assert len(list(masks.glob("*.png"))) == 2


def test_eval_and_check_say_so(tmp_path: Path, lesionseg: Command) -> None:
    folder = write_pairs(tmp_path / "data", 0, 1, 2)
    assert check.check_folder(folder).one_colour == ()
    photo = folder / "images" / "ISIC_0000001.png"
    height, width = drawing(1)[1].shape
    Image.new("RGB", (width, height), (9, 9, 9)).save(photo)
    network = saved(tmp_path / "a.pt", width=2, seed=3)
    report = json.loads(lesionseg("eval", "--data", folder, "-c", network, "--json").out)
    assert "1 of 3 photos of one colour, so that the mask means nothing" in str(report["notes"])
    shown = lesionseg("check", folder).out.splitlines()
    assert shown[shown.index("photos of one colour: 1") + 1].strip() == str(photo)
    assert json.loads(lesionseg("check", folder, "--json").out)["one_colour"] == [str(photo)]
