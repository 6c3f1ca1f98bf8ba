"""What becomes of each photo, and that every file appears whole."""

import errno
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers import drawing, segmenter, write_mask, write_photo
from PIL import Image

from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.images.arrays import Photo
from lesionseg.images.decode import Source
from lesionseg.images.photos import read_photo
from lesionseg.images.png import mask_png
from lesionseg.segmentation import jobs
from lesionseg.segmentation.jobs import JobOptions
from lesionseg.segmentation.outcome import Outcome, Status, Tally
from lesionseg.segmentation.outputs import OutputOptions
from lesionseg.segmentation.plan import Job, OutputPaths, plan_jobs
from lesionseg.segmentation.segmenter import Segmenter


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


def plan(inputs: str, mask: str, overlay: str = "", probabilities: str = "") -> list[Job]:
    """Plan jobs for inputs that are separated by spaces."""
    others = (Path(name) if name else None for name in (overlay, probabilities))
    return plan_jobs([Path(name) for name in inputs.split()], OutputPaths(Path(mask), *others))


OPTIONS = JobOptions(batch_size=2, workers=2)


def run(planned: list[Job], options: JobOptions = OPTIONS) -> list[Outcome]:
    return list(jobs.run(segmenter(), planned, options))


def single(outcomes: list[Outcome]) -> Outcome:
    (outcome,) = outcomes
    assert (outcome.status, outcome.error) == (Status.DONE, None)
    return outcome


def test_the_files_of_a_photo(here: Path) -> None:
    planned = plan("a.png", "new/mask.png", "new/overlay.png", "new/probabilities.png")
    outcome = single(run(planned))
    drawn = segmenter()(here / "a.png")
    height, width = drawn.mask.shape
    assert outcome.job == planned[0]
    assert (outcome.height, outcome.width) == (height, width)
    assert outcome.lesion_share == pytest.approx(drawn.mask.mean())
    assert outcome.quality == drawn.quality
    assert outcome.doubtful is None
    assert 0 < drawn.quality < 1
    mask = np.asarray(Image.open("new/mask.png"))
    assert mask.dtype == np.uint8
    assert (mask == drawn.mask * np.uint8(255)).all()
    grey = np.asarray(Image.open("new/probabilities.png")).astype(float)
    assert np.abs(grey - drawn.probabilities * 255).max() <= 0.5 + 1e-3
    overlay = np.asarray(Image.open("new/overlay.png"))
    assert overlay.shape == (height, width, 3)
    assert (overlay[drawn.mask] == drawing(0)[0][drawn.mask]).all()
    assert (overlay != drawing(0)[0]).any()
    names = {"mask.png", "overlay.png", "probabilities.png"}
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
    planned = plan(f"missing.jpg text.png b.jpg loop.png {long} a.png", "out")
    outcomes = run(planned)
    assert [outcome.job for outcome in outcomes] == planned
    *failed, last = outcomes
    expected = [
        (PhotoError, "no such file"),
        (PhotoError, "not a photo"),
        (LesionsegError, "it is a folder"),
        (PhotoError, "cannot read"),
        (LesionsegError, "File name too long"),  # of its mask
    ]
    for outcome, (kind, words) in zip(failed, expected, strict=True):
        assert outcome.status is Status.FAILED
        error = outcome.error
        assert error is not None
        assert type(error) is kind
        assert words in str(error)
        assert "\n" not in str(error)
        # Nothing of the photo stays in memory with it.
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
    assert last.status is Status.DONE
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
    (outcome,) = run(plan("a.png", "mask.png", "overlay.png"))
    assert str(outcome.error) == "cannot write overlay.png: No space left on device"
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
    assert capsysbinary.readouterr().out == mask_png(segmenter()(here / "a.png").mask)
    assert (here / "overlay.png").exists()  # the photo is there twice, though it was read once


class ClosedPipe(io.BytesIO):
    def write(self, content: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_closed_pipe_is_an_error_of_that_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(ClosedPipe()))
        (outcome,) = run(plan("a.png", "-"))
    assert str(outcome.error) == "cannot write to standard output: Broken pipe"


def test_a_device_is_written_into() -> None:
    single(run(plan("a.png", "/dev/null", "/dev/null")))
    assert not Path("/dev/null").is_file()


def test_jobs_of_any_batch_size_give_the_same_files(here: Path) -> None:
    def files(batch_size: int) -> dict[str, bytes]:
        folder = here / str(batch_size)
        run(plan("a.png b.jpg photos", str(folder)), JobOptions(batch_size, workers=2))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert len(files(1)) == 4
    assert files(1) == files(3)


def test_a_mask_is_doubtful_below_the_level_that_was_set(here: Path) -> None:
    quality = segmenter()(here / "a.png").quality
    for level, doubtful in ((quality, False), (quality + 0.01, True)):
        options = replace(OPTIONS, doubtful_below=level)
        assert single(run(plan("a.png", "mask.png"), options)).doubtful is doubtful


class Opened(NamedTuple):
    """How a network was asked for."""

    concurrency: int
    fast_start: bool


class Shown(NamedTuple):
    """What was said of an outcome."""

    photo: str
    status: Status
    done: int
    total: int


def run_shared(
    planned: list[Job], options: JobOptions, table: Path | None = None
) -> tuple[Tally, list[Shown], list[Opened]]:
    shown: list[Shown] = []
    opened: list[Opened] = []

    def open_segmenter(concurrency: int, *, fast_start: bool) -> Segmenter:
        opened.append(Opened(concurrency, fast_start))
        return segmenter()

    def show(outcome: Outcome, done: int, total: int | None) -> None:
        assert total is not None
        shown.append(Shown(outcome.job.photo.as_posix(), outcome.status, done, total))

    tally = jobs.run_shared(planned, open_segmenter, options, OutputOptions(table=table), show)
    return tally, shown, opened


def test_what_became_of_each_photo_is_shown_in_order_and_counted(here: Path) -> None:
    (here / "photos" / "bad.jpg").write_text("not a photo")
    planned = plan("photos a.png b.jpg", "out")
    (here / "out" / "y_segmentation.png").write_bytes(mask_png(drawing(0)[1]))
    (here / "out" / "a_segmentation.png").write_bytes(mask_png(drawing(0)[1]))
    options = replace(OPTIONS, skip_existing=True, doubtful_below=1.0)
    tally, shown, opened = run_shared(planned, options)
    assert shown == [
        Shown("photos/bad.jpg", Status.FAILED, 1, 5),
        Shown("photos/x.png", Status.DONE, 2, 5),
        Shown("photos/y.jpg", Status.SKIPPED, 3, 5),
        Shown("a.png", Status.SKIPPED, 4, 5),
        Shown("b.jpg", Status.DONE, 5, 5),
    ]
    assert tally == Tally(done=2, skipped=2, failed=1, doubtful=2)
    assert opened == [Opened(concurrency=2, fast_start=False)]


@pytest.mark.parametrize(
    ("inputs", "workers", "expected"),
    [
        ("a.png", 8, Opened(1, True)),
        ("a.png b.jpg", 8, Opened(2, True)),
        ("a.png b.jpg photos", 8, Opened(4, False)),
        ("a.png b.jpg photos", 1, Opened(1, False)),
    ],
)
def test_how_the_network_is_opened(inputs: str, workers: int, expected: Opened) -> None:
    _, _, opened = run_shared(plan(inputs, "new"), JobOptions(batch_size=2, workers=workers))
    assert opened == [expected]


def test_no_network_is_opened_where_all_is_skipped(here: Path) -> None:
    mask = write_mask(here / "out" / "a_segmentation.png", drawing(0)[1])
    before = mask.read_bytes()
    options = replace(OPTIONS, skip_existing=True)
    tally, shown, opened = run_shared(plan("a.png", "out"), options)
    assert (tally, opened) == (Tally(skipped=1), [])
    assert shown == [Shown("a.png", Status.SKIPPED, 1, 1)]
    assert mask.read_bytes() == before


def test_a_mask_that_is_there_but_cannot_be_read_fails_only_where_it_is_needed(here: Path) -> None:
    (here / "out" / "a_segmentation.png").write_text("not a mask")
    options = replace(OPTIONS, skip_existing=True)
    tally, _, _ = run_shared(plan("a.png", "out"), options)
    assert tally == Tally(skipped=1)
    tally, _, _ = run_shared(plan("a.png", "out"), options, table=here / "m.csv")
    assert tally == Tally(failed=1)
    assert not (here / "m.csv").exists()


def test_a_photo_that_changes_on_the_way_fails_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_photo

    def read_anew(source: Source) -> Photo:
        photo = read(source)
        return photo[1:] if source == Path("a.png") else photo

    monkeypatch.setattr("lesionseg.segmentation.jobs.read_photo", read_anew)
    first, second = run(plan("a.png b.jpg", "out", "out"))
    assert str(first.error) == "a.png: changed while it was segmented; run it again"
    assert second.status is Status.DONE
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        "b_overlay.png",
        "b_segmentation.png",
    ]


def test_a_mask_of_another_size_is_measured_by_nobody(here: Path) -> None:
    write_mask(here / "out" / "a_segmentation.png", drawing(0)[1][1:])
    options = replace(OPTIONS, skip_existing=True)
    tally, _, _ = run_shared(plan("a.png", "out"), options, table=here / "m.csv")
    assert tally == Tally(failed=1)
    assert not (here / "m.csv").exists()


def test_a_full_disk_ends_the_jobs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, names = Path.write_bytes, []

    def full_at_the_second(path: Path, content: bytes) -> int:
        names.append(path.name)
        if len(names) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    photos = [f"{index:02}.png" for index in range(30)]
    for name in photos:
        write_photo(here / name)
    planned = plan(f"empty {' '.join(photos)}", "out")
    monkeypatch.setattr(Path, "write_bytes", full_at_the_second)
    tally, shown, _ = run_shared(planned, JobOptions(batch_size=1, workers=1))
    assert tally == Tally(done=1, failed=2)  # one of which is the empty folder
    assert [line.photo for line in shown] == ["empty", *photos[:2]]
    assert len(names) < 10  # as far as the threads were ahead
    assert [path.name for path in (here / "out").iterdir()] == ["00_segmentation.png"]
