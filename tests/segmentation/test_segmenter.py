"""Photos become masks: at the photo's size, in order, a few at a time."""

import io
import itertools
import os
import pickle
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, begun, drawing, saved, segmenter, torch_network, write_photo
from PIL import Image

from lesionseg import store
from lesionseg.errors import CheckpointError, LesionsegError, PhotoError
from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.resize import enlarge, shrink
from lesionseg.segmentation import quality
from lesionseg.segmentation.segmenter import Segmenter, load, stream


@cache
def every(threshold: float) -> Segmenter:
    """The network of the tests, with all regions that it finds."""
    return Segmenter(torch_network(begun(2, seed=3)), threshold, all_regions=True)


def test_a_file_and_its_array_give_the_same(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "photo.png")
    photo, _ = drawing(0)
    results = [every(0.5)(path), every(0.5)(str(path)), every(0.5)(photo)]
    for result in results:
        assert result.mask.shape == result.probabilities.shape == photo.shape[:2]
        assert result.mask.dtype == np.bool_
        assert result.probabilities.dtype == np.float32
        assert 0 <= result.probabilities.min() < 0.5 < result.probabilities.max() <= 1
        assert (result.probabilities == results[0].probabilities).all()
        assert (result.mask == (result.probabilities > 0.5)).all()
        assert result.quality == results[0].quality


def test_bytes_files_and_images_of_pillow(tmp_path: Path) -> None:
    upright = Image.fromarray(drawing(0)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    expected = segmenter()(path)
    with path.open("rb") as file, Image.open(path) as image:
        photos: list[Any] = [path.read_bytes(), io.BytesIO(path.read_bytes()), file, image]
        for photo in photos:
            result = segmenter()(photo)
            assert (result.mask == expected.mask).all()
            assert result.quality == expected.quality
    for photo in (upright.convert("L"), upright.convert("P"), upright.convert("CMYK")):
        assert segmenter()(photo).mask.shape == expected.mask.shape


def test_photos_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a photo")
    with text.open("rb") as file, pytest.raises(PhotoError, match=rf"^{text}: not a photo"):
        segmenter()(file)
    with pytest.raises(PhotoError, match=r"^photo: not a photo"):
        segmenter()(b"not a photo")
    with pytest.raises(PhotoError, match=r"^photo: not a photo"):
        segmenter()(io.BytesIO())
    with pytest.raises(PhotoError, match=r"float64; convert it: \(photo \* 255\)"):
        segmenter()(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with (
        text.open() as as_text,
        pytest.raises(PhotoError, match=r"opened as text; open it with mode 'rb'"),
    ):
        segmenter()(as_text)  # type: ignore[arg-type]
    photo = write_photo(tmp_path / "photo.png", 1)
    with photo.open() as as_text, pytest.raises(PhotoError, match=r"opened as text"):
        segmenter()(as_text)  # type: ignore[arg-type]  # of bytes that are no text
    with photo.open("rb") as closed:
        pass
    with pytest.raises(PhotoError, match=rf"^{photo}: cannot read this photo: read of closed file"):
        segmenter()(closed)
    with pytest.raises(PhotoError, match=r"^expected a photo as a path, .* got int$"):
        segmenter()(5)  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match=r"expected 8 or 16 bits"):
        segmenter()(Image.new("F", (4, 4)))


def test_map_gives_results_and_errors_in_order(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", 1)
    photos: list[Any] = [
        path,
        tmp_path / "none.png",
        drawing(2)[0],
        np.zeros((4, 4)),
        path.read_bytes(),
    ]
    first, missing, second, floats, third = segmenter().map(photos)
    for result, photo in ((first, photos[0]), (second, photos[2]), (third, photos[4])):
        assert not isinstance(result, LesionsegError)
        assert (result.mask == segmenter()(photo).mask).all()
    assert isinstance(missing, PhotoError)
    assert "none.png: no such file" in str(missing)
    assert isinstance(floats, PhotoError)
    endless = segmenter().map(itertools.repeat(path))
    assert len(list(itertools.islice(endless, 3))) == 3
    for one in (path, str(path), path.read_bytes()):
        with pytest.raises(PhotoError, match=r"expected a list of photos, .*, got one"):
            segmenter().map(one)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["torch", *store.BUNDLED_FILES])
def test_a_segmenter_can_be_pickled(tmp_path: Path, kind: str) -> None:
    if kind == "torch":
        own = Segmenter(torch_network(begun(2, seed=3)), 0.4, tmp_path, all_regions=True)
    else:
        own = load(kind, "cpu", threshold=0.4, all_regions=True)
        assert kind in own.network.__reduce__()[1]  # its path is another one on another host
    copy = pickle.loads(pickle.dumps(own))
    photo, _ = drawing(1)
    assert (copy(photo).low_res_probabilities == own(photo).low_res_probabilities).all()
    assert (copy(photo).mask == own(photo).mask).all()
    assert (copy.threshold, copy.all_regions, copy.path) == (0.4, True, own.path)
    assert copy.checkpoint.recipe == own.checkpoint.recipe


def test_a_pickled_network_whose_file_was_replaced(tmp_path: Path) -> None:
    weights = store.BUNDLED_FILE
    for file in (weights, weights.with_suffix(".onnx")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = pickle.dumps(load(tmp_path / weights.with_suffix(".onnx").name))
    own = pickle.loads(content)
    own.network.source = "of another network"
    other = pickle.dumps(own)
    with pytest.raises(CheckpointError, match=r"onnx: the file has changed since"):
        pickle.loads(other)
    (tmp_path / weights.with_suffix(".onnx").name).unlink()
    with pytest.raises(CheckpointError, match=r"onnx: no such file"):
        pickle.loads(content)


def test_a_turned_photo_gets_an_upright_mask(tmp_path: Path) -> None:
    upright = Image.fromarray(drawing(0)[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = segmenter()(tmp_path / "turned.png")
    assert turned.mask.shape == (upright.height, upright.width)
    assert upright.height != upright.width
    assert (turned.mask == segmenter()(np.asarray(upright)).mask).all()


def test_probabilities_are_enlarged_first_and_thresholded_after() -> None:
    photo, _ = drawing(1)
    probabilities = segmenter().predict([shrink(photo, SIZE)])
    assert probabilities.shape == (1, SIZE, SIZE)
    assert probabilities.dtype == np.float32
    expected = enlarge(probabilities[0], *photo.shape[:2]) > 0.5
    thresholded = (probabilities[0] > 0.5).astype(np.float32)
    thresholded_first = enlarge(thresholded, *photo.shape[:2]) > 0.5
    assert (every(0.5)(photo).mask == expected).all()
    assert (expected != thresholded_first).any()


def test_probabilities_are_all_that_the_network_saw() -> None:
    photo, _ = drawing(1)
    (expected,) = segmenter().predict([shrink(photo, SIZE)])
    for network in (segmenter(), every(0.5)):
        result = network(photo)
        assert (result.low_res_probabilities == expected).all()
        assert (result.probabilities == enlarge(expected, *photo.shape[:2])).all()
        assert result.probabilities is result.probabilities  # made once


ISLANDS = np.full((8, 8), 0.1, np.float32)
ISLANDS[1:5, 1:5] = 0.9
ISLANDS[2:4, 2:4] = 0.2  # a hole
ISLANDS[6:, 6:] = 0.7


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 3)])
def test_the_largest_region_or_all_of_them(rows: int, columns: int) -> None:
    one, whole = (
        network.at_size(ISLANDS, 8 * rows, 8 * columns) for network in (segmenter(), every(0.5))
    )
    largest = np.zeros((8, 8), bool)
    largest[1:5, 1:5] = True
    for result, expected in ((one, largest), (whole, ISLANDS > 0.5)):
        assert result.mask.shape == (8 * rows, 8 * columns)
        middles = result.mask[rows // 2 :: rows, columns // 2 :: columns]
        assert (middles == expected).all()
    assert (whole.mask == (whole.probabilities > 0.5)).all()
    assert (one.probabilities == whole.probabilities).all()


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_quality_is_that_of_the_whole_map(threshold: float) -> None:
    unsure = ISLANDS.copy()
    unsure[0, 6:] = (0.31, 0.47)  # in no mask's largest region
    expected = quality.agreement(unsure, threshold)
    assert 0 < expected < 1
    for all_regions in (False, True):
        network = Segmenter(torch_network(begun()), threshold, all_regions=all_regions)
        assert network.at_size(unsure, 20, 30).quality == expected
    photo, _ = drawing(0)
    (probabilities,) = every(threshold).predict([shrink(photo, SIZE)])
    assert every(threshold)(photo).quality == quality.agreement(probabilities, threshold)


@pytest.mark.parametrize("threshold", [0.4, 0.6])
def test_the_threshold(threshold: float) -> None:
    result = every(threshold)(drawing(0)[0])
    assert (result.mask == (result.probabilities > threshold)).all()
    assert (result.mask != (result.probabilities > 0.5)).any()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_not_a_probability(threshold: float) -> None:
    with pytest.raises(LesionsegError, match=r"^threshold: expected 0 to 1, got"):
        Segmenter(torch_network(begun()), threshold)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((1, 40, 40, 3), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
    ids=lambda photo: f"{photo.shape} {photo.dtype}",
)
def test_an_array_that_is_not_a_photo(photo: Any) -> None:
    with pytest.raises(PhotoError, match=r"^expected a photo of \(H, W, 3\) uint8, got "):
        segmenter()(photo)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (SIZE, SIZE), (33, 31)])
def test_photos_of_odd_sizes(shape: tuple[int, int]) -> None:
    assert segmenter()(np.zeros((*shape, 3), np.uint8)).mask.shape == shape


def test_bad_photos(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        segmenter()(tmp_path / "none.png")
    with pytest.raises(LesionsegError, match="no device 'abacus'"):
        Segmenter(torch_network(begun(), "abacus"))


def kind_of_error(action: Callable[[], object]) -> type[LesionsegError]:
    """The class by which a caller of the library tells an error from others."""
    with pytest.raises(LesionsegError) as caught:
        action()
    return caught.type


def test_a_caller_can_tell_a_bad_photo_from_a_bad_checkpoint(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a photo")
    cut = write_photo(tmp_path / "cut.png")
    cut.write_bytes(cut.read_bytes()[:500])
    grey = np.zeros((40, 40), np.uint8)
    for photo in (tmp_path / "none.png", text, cut, str(text), grey):
        assert kind_of_error(partial(segmenter(), photo)) is PhotoError, photo

    for name in ("text.pt", "text.onnx"):
        (tmp_path / name).write_text("not a network")
    for checkpoint in ("nonsense", tmp_path / "text.pt", tmp_path / "text.onnx"):
        assert kind_of_error(partial(load, checkpoint, "cpu")) is CheckpointError, checkpoint

    good = saved(tmp_path / "good.pt")
    for settings in ({"device": "abacus"}, {"threshold": 2}, {"device": "meta"}):
        assert kind_of_error(partial(load, good, **settings)) is LesionsegError, settings


def test_which_checkpoint_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(device="cpu").path == store.BUNDLED_FILE
    old = saved(store.runs_dir() / "old" / "best.pt", seed=1)
    new = saved(store.runs_dir() / "new" / "best.pt", seed=2)
    other = saved(tmp_path / "other.pt", seed=3)
    later = old.stat().st_mtime_ns + 10**9
    os.utime(new, ns=(later, later))

    def seed(loaded: Segmenter) -> int:
        return loaded.checkpoint.recipe.seed

    assert seed(load(device="cpu")) == 2
    assert seed(load("old", "cpu")) == seed(load(old, "cpu")) == seed(load(old.parent, "cpu")) == 1
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, str(other))
    loaded = load(device="cpu", threshold=0.25)
    assert (seed(loaded), loaded.path, loaded.threshold) == (3, other, 0.25)
    assert not loaded.all_regions
    assert load("old", "cpu", all_regions=True).all_regions
    assert seed(load("old", "cpu")) == 1
    for name, file in store.BUNDLED_FILES.items():
        assert load(name, "cpu").path == file
    with pytest.raises(CheckpointError, match=r"expected one checkpoint or more, got an empty"):
        load([])


def masks_of(
    paths: list[Path], batch_size: int, workers: int
) -> list[tuple[Path, Mask | LesionsegError]]:
    def finish(path: Path, probabilities: Probabilities, size: tuple[int, int], _: Photo) -> Mask:
        if path.stem == "unlucky":
            raise LesionsegError("the disk is full")
        return segmenter().at_size(probabilities, *size).mask

    return list(
        stream(
            segmenter(), paths, lambda path: path, finish, batch_size=batch_size, workers=workers
        )
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_a_stream_keeps_its_order_and_goes_on_after_errors(
    tmp_path: Path, batch_size: int, workers: int
) -> None:
    names = ["a", "missing", "b", "unlucky", "text", "c", "d", "last"]
    paths = [tmp_path / f"{name}.png" for name in names]
    for index, path in enumerate(paths):
        if path.stem == "text":
            path.write_text("no photo")
        elif path.stem != "missing":
            write_photo(path, index)
    results = masks_of(paths, batch_size, workers)
    assert [path for path, _ in results] == paths
    said = {
        path.stem: str(result) for path, result in results if isinstance(result, LesionsegError)
    }
    assert said.keys() == {"missing", "unlucky", "text"}
    assert "missing.png: no such file" in said["missing"]
    assert said["unlucky"] == "the disk is full"
    for path, result in results:
        if not isinstance(result, LesionsegError):
            assert (result == segmenter()(path).mask).all(), path.name


def test_a_batch_of_no_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batch_size: expected 1 or more, got 0"):
        masks_of([write_photo(tmp_path / "a.png")], 0, 1)


def test_a_stream_of_nothing_and_of_errors_alone(tmp_path: Path) -> None:
    assert masks_of([], 4, 2) == []
    missing = [tmp_path / str(number) for number in range(9)]
    results = masks_of(missing, 4, 2)
    assert [path for path, _ in results] == missing
    assert all(isinstance(result, LesionsegError) for _, result in results)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (4, 2)])
def test_a_stream_runs_only_a_little_ahead(tmp_path: Path, batch_size: int, workers: int) -> None:
    photo = write_photo(tmp_path / "a.png")
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        for number in itertools.count():  # without an end: reading it all would never return
            pulled += 1
            yield number

    results = stream(
        segmenter(),
        items(),
        lambda _: photo,
        lambda number, *_: number,
        batch_size=batch_size,
        workers=workers,
    )
    for done, (item, result) in enumerate(itertools.islice(results, 30), start=1):
        assert item == result == done - 1
        assert pulled - done <= 2 * batch_size + 4 * workers + 2
    results.close()  # type: ignore[attr-defined]


def test_out_of_memory_in_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Segmenter, photos: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(Segmenter, "predict", full)
    with pytest.raises(LesionsegError, match=r"^out of memory; lower --batch-size or --workers$"):
        masks_of([write_photo(tmp_path / "a.png")], 1, 1)
