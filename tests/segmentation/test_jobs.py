"""Which file becomes which, and that each appears whole."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import drawing, segmenter, write_mask, write_photo
from PIL import Image

from lesionseg import images
from lesionseg.errors import LesionsegError
from lesionseg.segmentation import jobs
from lesionseg.segmentation.jobs import Job, Outputs, Result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos, other files, and folders of both."""
    folder = tmp_path / "here"
    for name in ("a.png", "b.jpg", "photos/x.png", "photos/y.jpg", "others/x.jpg"):
        write_photo(folder / name)
    write_mask(folder / "photos" / "x_segmentation.png", drawing(0)[1])
    (folder / "photos" / "notes.txt").touch()
    (folder / "out").mkdir()
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    return folder


def plan(names: str, mask: str, overlay: str = "", probabilities: str = "") -> list[Job]:
    """A plan for names that stand apart by spaces."""
    outputs = (Path(name) if name else None for name in (overlay, probabilities))
    return jobs.plan([Path(name) for name in names.split()], Outputs(Path(mask), *outputs))


def masks(jobs: list[Job]) -> list[tuple[str, str]]:
    return [(job.photo.as_posix(), job.outputs.mask.as_posix()) for job in jobs]


@pytest.mark.parametrize(
    ("names", "mask", "expected"),
    [
        ("a.png", "mask.png", [("a.png", "mask.png")]),
        ("a.png", "new/mask.PNG", [("a.png", "new/mask.PNG")]),
        ("a.png", "out", [("a.png", "out/a_segmentation.png")]),
        ("a.png", "new", [("a.png", "new/a_segmentation.png")]),
        ("a.png", ".", [("a.png", "a_segmentation.png")]),
        ("a.png", "/dev/null", [("a.png", "/dev/null")]),
        ("a.png", "-", [("a.png", "-")]),
        ("-", "-", [("-", "-")]),
        ("-", "mask.png", [("-", "mask.png")]),
        ("missing.jpg", "mask.png", [("missing.jpg", "mask.png")]),
        (
            "b.jpg missing.jpg a.png",
            "new.d",
            [
                ("b.jpg", "new.d/b_segmentation.png"),
                ("missing.jpg", "new.d/missing_segmentation.png"),
                ("a.png", "new.d/a_segmentation.png"),
            ],
        ),
        (
            "photos",
            "out",
            [
                ("photos/x.png", "out/x_segmentation.png"),
                ("photos/y.jpg", "out/y_segmentation.png"),
            ],
        ),
        ("a.png photos/x_segmentation.png", "out", None),
    ],
)
def test_which_mask_a_photo_gives(
    names: str, mask: str, expected: list[tuple[str, str]] | None
) -> None:
    if expected is None:  # a file that is named is taken, whatever its name is
        expected = [(name, f"out/{Path(name).stem}_segmentation.png") for name in names.split()]
    assert masks(plan(names, mask)) == expected


def test_results_in_a_folder_are_not_taken_for_photos(here: Path) -> None:
    for name in ("x_segmentation.png", "x_overlay.png", "x_probabilities.png"):
        (here / "photos" / name).touch()
    planned = jobs.plan([Path("photos")], Outputs(Path("photos")), skip_existing=True)
    assert [job.photo.name for job in planned] == ["x.png", "y.jpg"]


@pytest.mark.parametrize(
    ("photos", "masks"),
    [("set", "set"), ("set/images", "set/masks"), ("set/A_Input", "set/A_GroundTruth")],
)
def test_what_may_be_the_truth_is_not_replaced(here: Path, photos: str, masks: str) -> None:
    write_photo(here / photos / "p.png")
    assert plan(photos, masks)  # nothing is there yet
    truth = here / masks / "p_segmentation.png"
    truth.parent.mkdir(exist_ok=True)
    truth.touch()
    with pytest.raises(LesionsegError, match="may be the truth; nothing was written"):
        plan(photos, masks)
    outputs = Outputs(Path(masks))
    assert all(job.done for job in jobs.plan([Path(photos)], outputs, skip_existing=True))
    assert plan(f"{photos}/p.png", "set/p_segmentation.png")  # named by a person


def test_overlays_and_probabilities_lie_beside() -> None:
    (job,) = plan("a.png", "mask.png", "overlay.png", "soft.png")
    assert job.outputs == Outputs(Path("mask.png"), Path("overlay.png"), Path("soft.png"))
    (job,) = plan("a.png", "mask.png", "out", "new")
    assert job.outputs == Outputs(
        Path("mask.png"), Path("out/a_overlay.png"), Path("new/a_probabilities.png")
    )
    first, second = plan("a.png b.jpg", "out", "lines")
    assert first.outputs == Outputs(Path("out/a_segmentation.png"), Path("lines/a_overlay.png"))
    assert second.outputs == Outputs(Path("out/b_segmentation.png"), Path("lines/b_overlay.png"))


@pytest.mark.parametrize(
    ("names", "mask", "overlay", "said"),
    [
        ("empty", "out", "", "empty: no photos in this folder"),
        ("photos others", "out", "", "photos/x.png and others/x.jpg would both give out/x_seg"),
        ("a.png a.png", "out", "", "a_segmentation.png would be written twice"),
        ("a.png", "same.png", "same.png", "same.png would be written twice"),
        ("a.png", "a.png", "", "a.png is an input; nothing was written"),
        ("a.png", "../here/a.png", "", "a.png is an input"),
        ("a.png", "mask.png", "a.png", "a.png is an input"),
        ("photos/x.png photos/x_segmentation.png", "photos", "", "x_segmentation.png is an input"),
        ("a.png", "mask.jpg", "", "mask.jpg: results are PNG files; name it mask.png"),
        ("a.png", "mask.png", "lines.jpg", "lines.jpg: results are PNG files"),
        ("- a.png", "out", "", "standard input is one photo"),
        ("-", "out", "", "standard input is one photo"),
        ("a.png b.jpg", "mask.png", "", "mask.png: several photos, or a folder of them, need"),
        ("photos", "out", "b.jpg", "b.jpg: several photos, or a folder of them, need a folder"),
        ("a.png b.jpg", "-", "", "standard output takes one mask"),
        ("photos", "-", "", "standard output takes one mask"),
        ("a.png", "mask.png", "-", "standard output takes the mask"),
        ("a.png", "-", "-", "standard output takes the mask"),
        ("a" * 300, "mask.png", "", "File name too long"),
        ("a.png", "b" * 300 + ".png", "", "File name too long"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    here: Path, names: str, mask: str, overlay: str, said: str
) -> None:
    before = sorted(here.rglob("*"))
    with pytest.raises(LesionsegError) as caught:
        plan(names, mask, overlay)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(here.rglob("*")) == before


def test_links_are_followed_to_the_input(here: Path) -> None:
    (here / "link.png").symlink_to("a.png")
    with pytest.raises(LesionsegError, match=r"link\.png is an input"):
        plan("a.png", "link.png")
    with pytest.raises(LesionsegError, match=r"a\.png is an input"):
        plan("link.png", "a.png")


def test_a_link_to_itself_is_only_a_bad_photo(here: Path) -> None:
    (here / "loop.png").symlink_to("loop.png")
    assert len(plan("loop.png", "mask.png")) == 1


def test_done(here: Path) -> None:
    (job,) = plan("a.png", "mask.png", "overlay.png")
    assert not job.done
    (here / "mask.png").touch()
    assert not job.done
    (here / "overlay.png").touch()
    assert job.done
    assert not plan("a.png", "-")[0].done


def run(planned: list[Job], batch_size: int = 2) -> list[tuple[Job, Result | LesionsegError]]:
    return list(jobs.run(segmenter(), planned, batch_size=batch_size, workers=2))


def single(results: list[tuple[Job, Result | LesionsegError]]) -> Result:
    ((_, result),) = results
    assert isinstance(result, Result)
    return result


def test_the_files_of_a_photo(here: Path) -> None:
    result = single(run(plan("a.png", "new/mask.png", "new/overlay.png", "new/soft.png")))
    drawn = segmenter()(here / "a.png")
    height, width = drawn.mask.shape
    assert (result.height, result.width) == (height, width)
    assert result.lesion_share == pytest.approx(drawn.mask.mean())
    assert result.quality == drawn.quality
    assert 0 < drawn.quality < 1
    mask = np.asarray(Image.open("new/mask.png"))
    assert mask.dtype == np.uint8
    assert (mask == drawn.mask * np.uint8(255)).all()
    soft = np.asarray(Image.open("new/soft.png")).astype(float)
    assert np.abs(soft - drawn.probabilities * 255).max() <= 0.5 + 1e-3
    overlay = np.asarray(Image.open("new/overlay.png"))
    assert overlay.shape == (height, width, 3)
    assert (overlay[drawn.mask] == drawing(0)[0][drawn.mask]).all()
    assert (overlay != drawing(0)[0]).any()
    names = {"mask.png", "overlay.png", "soft.png"}
    assert {path.name for path in (here / "new").iterdir()} == names


def test_seconds_count_from_opening_the_photo(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 25.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert single(run(plan("a.png", "mask.png", "overlay.png"))).seconds == 15


def test_an_error_does_not_stop_the_rest(here: Path) -> None:
    (here / "text.png").write_text("no photo")
    (here / "loop.png").symlink_to("loop.png")
    (here / "out" / "b_segmentation.png").mkdir()  # in the way
    long = f"{'c' * 240}.png"
    write_photo(here / long)
    jobs = plan(f"missing.jpg text.png b.jpg loop.png {long} a.png", "out")
    results = run(jobs)
    assert [job for job, _ in results] == jobs
    *errors, last = [result for _, result in results]
    said = ("no such file", "not a photo", "it is a folder", "cannot read", "File name too long")
    for error, words in zip(errors, said, strict=True):
        assert isinstance(error, LesionsegError)
        assert words in str(error)
        assert "\n" not in str(error)
        # Nothing of the photo stays in memory with it.
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
    assert isinstance(last, Result)
    names = {"a_segmentation.png", "b_segmentation.png"}
    assert {path.name for path in (here / "out").iterdir()} == names


def test_a_file_appears_whole_or_not_at_all(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_mask(here / "mask.png", drawing(0)[1]).read_bytes()

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    before = sorted(here.iterdir())
    monkeypatch.setattr(Path, "write_bytes", full)
    ((_, result),) = run(plan("a.png", "mask.png", "overlay.png"))
    assert str(result) == "cannot write overlay.png: No space left on device"
    assert sorted(here.iterdir()) == before
    assert (here / "mask.png").read_bytes() == old


@pytest.fixture
def standard_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The photo a.png on standard input."""
    jobs._standard_input.cache_clear()
    stream = io.TextIOWrapper(io.BytesIO((here / "a.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    yield
    jobs._standard_input.cache_clear()


@pytest.mark.usefixtures("standard_input")
def test_from_standard_input_to_standard_output(
    here: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    single(run(plan("-", "-", "overlay.png")))
    assert capsysbinary.readouterr().out == images.mask_png(segmenter()(here / "a.png").mask)
    assert (here / "overlay.png").exists()  # the photo is there twice, though it was read once


class ClosedPipe(io.BytesIO):
    def write(self, content: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_closed_pipe_is_an_error_of_that_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(ClosedPipe()))
        ((_, result),) = run(plan("a.png", "-"))
    assert str(result) == "cannot write to standard output: Broken pipe"


def test_a_device_is_written_into() -> None:
    single(run(plan("a.png", "/dev/null", "/dev/null")))
    assert not Path("/dev/null").is_file()


def test_jobs_of_any_batch_size_give_the_same_files(here: Path) -> None:
    def files(batch_size: int) -> dict[str, bytes]:
        folder = here / str(batch_size)
        run(plan("a.png b.jpg photos", str(folder)), batch_size)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert len(files(1)) == 4
    assert files(1) == files(3)
