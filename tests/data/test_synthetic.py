"""The drawn data set: always the same, varied, sound masks, and laid out as the real sets."""

from pathlib import Path

import numpy as np
import pytest

from lesionseg.data import synthetic
from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask, Photo
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo


@pytest.fixture(scope="module")
def drawings() -> list[tuple[Photo, Mask]]:
    return [synthetic.generate(0, index) for index in range(40)]


def regions(plane: Mask) -> int:
    """How many regions of True there are, joined along edges: runs of rows, joined downwards."""
    joined: list[int] = []  # a run's number -> a run of the same region; a root names itself

    def root(run: int) -> int:
        while joined[run] != run:
            run = joined[run]
        return run

    above: list[tuple[int, int, int]] = []
    for row in plane:
        ends = np.flatnonzero(np.diff(row.astype(int), prepend=0, append=0)).tolist()
        here = []
        for start, stop in zip(ends[::2], ends[1::2], strict=True):
            joined.append(len(joined))
            here.append((start, stop, len(joined) - 1))
            for other_start, other_stop, run in above:
                if start < other_stop and other_start < stop:
                    joined[root(run)] = root(len(joined) - 1)
        above = here
    return sum(run == other for run, other in enumerate(joined))


def test_a_drawing_is_the_same_in_any_order(drawings: list[tuple[Photo, Mask]]) -> None:
    for index in (7, 3):
        photo, mask = synthetic.generate(0, index)
        assert (photo == drawings[index][0]).all()
        assert (mask == drawings[index][1]).all()


def test_drawings_differ_by_index_and_by_seed(drawings: list[tuple[Photo, Mask]]) -> None:
    assert len({photo.tobytes() for photo, _ in drawings}) == len(drawings)
    assert synthetic.generate(1, 3)[0].tobytes() != drawings[3][0].tobytes()


def test_layouts_and_sizes(drawings: list[tuple[Photo, Mask]]) -> None:
    for photo, mask in drawings:
        assert photo.dtype == np.uint8
        assert mask.dtype == np.bool_
        assert photo.shape == (*mask.shape, 3)
        assert photo.flags.c_contiguous
    assert {mask.shape for _, mask in drawings} == set(synthetic.SIZES)


def test_regions_are_counted() -> None:
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    assert regions(ring) == 1
    assert regions(~ring) == 1
    ring[2, 2] = True
    assert regions(ring) == 2
    assert regions(np.eye(3, dtype=bool)) == 3


def test_a_mask_is_one_region_without_holes(drawings: list[tuple[Photo, Mask]]) -> None:
    for index, (_, mask) in enumerate(drawings):
        assert regions(mask) == 1, index
        framed = np.pad(~mask, 1, constant_values=True)  # joins what the lesion cuts apart
        assert regions(framed) == 1, index


def test_lesions_share_of_the_frame(drawings: list[tuple[Photo, Mask]]) -> None:
    shares = [mask.mean() for _, mask in drawings]
    assert min(shares) >= synthetic.SMALLEST
    assert max(shares) <= synthetic.LARGEST
    assert np.std(shares) > 0.08


def test_some_lesions_are_cut_by_the_frame_and_some_are_not(
    drawings: list[tuple[Photo, Mask]],
) -> None:
    cut = [
        bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        for _, mask in drawings
    ]
    assert 0.05 < np.mean(cut) < 0.6


def test_skin_has_many_tones_and_lesions_are_mostly_darker(
    drawings: list[tuple[Photo, Mask]],
) -> None:
    skin = [np.median(photo[~mask]) for photo, mask in drawings]
    lesion = [np.median(photo[mask]) for photo, mask in drawings]
    assert np.std(skin) > 25
    assert np.mean(np.less(lesion, skin)) > 0.85


def test_brightness_alone_does_not_find_the_lesion(drawings: list[tuple[Photo, Mask]]) -> None:
    scores = []
    for photo, mask in drawings:
        grey = photo.mean(axis=2)
        dark = grey <= otsu(grey)
        scores.append(2 * (dark & mask).sum() / (dark.sum() + mask.sum()))
    assert 0.5 < np.mean(scores) < 0.85


def otsu(grey: np.ndarray) -> int:
    """The threshold that parts the brightness into the two most different groups."""
    counts = np.histogram(grey, 256, (0, 256))[0]
    below = counts.cumsum()[:-1]
    total = (counts * np.arange(256)).cumsum()
    above = grey.size - below
    apart = total[:-1] / below.clip(1) - (total[-1] - total[:-1]) / above.clip(1)
    return int(np.argmax(below * above * apart**2))


def test_the_set_is_laid_out_as_the_real_ones(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    synthetic.generate_set(
        tmp_path,
        lambda done, total: calls.append((done, total)),
        photos={"train": 2, "val": 1, "test": 1},
    )
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == [
        "DEMO_Test_GroundTruth/DEMO_0000004_segmentation.png",
        "DEMO_Test_Input/DEMO_0000004.jpg",
        "DEMO_Training_GroundTruth/DEMO_0000001_segmentation.png",
        "DEMO_Training_GroundTruth/DEMO_0000002_segmentation.png",
        "DEMO_Training_Input/DEMO_0000001.jpg",
        "DEMO_Training_Input/DEMO_0000002.jpg",
        "DEMO_Validation_GroundTruth/DEMO_0000003_segmentation.png",
        "DEMO_Validation_Input/DEMO_0000003.jpg",
        "LICENSE.txt",
    ]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert "CC0" in (tmp_path / "LICENSE.txt").read_text()


def test_the_files_read_back_as_they_were_drawn(tmp_path: Path) -> None:
    synthetic.generate_set(tmp_path, photos={"val": 1}, seed=5)
    photo, mask = synthetic.generate(5, 1)
    file = tmp_path / "DEMO_Validation_Input" / "DEMO_0000001.jpg"
    truth = tmp_path / "DEMO_Validation_GroundTruth" / "DEMO_0000001_segmentation.png"
    assert read_photo(file).shape[:2] == mask.shape
    assert np.abs(read_photo(file).astype(int) - photo).mean() < 3
    back, zero_one = read_mask(truth)
    assert (back == mask).all()
    assert not zero_one


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LesionsegError, match="cannot write"):
        synthetic.generate_set(tmp_path / "file", photos={"test": 1})
