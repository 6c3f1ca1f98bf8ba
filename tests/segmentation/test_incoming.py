"""Photos whose names come one after the other: planned, refused and run when they come."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import drawing, saved, write_mask, write_photo
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.errors import LesionsegError
from lesionseg.segmentation.incoming import HashSet, plan_incoming
from lesionseg.segmentation.plan import Job, OutputPaths


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos."""
    folder = tmp_path / "here"
    for name in ("a.png", "b.jpg", "photos/x.png", "photos/below/x.png", "other/a.png"):
        write_photo(folder / name)
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    return folder


class Planned(NamedTuple):
    """A job in short."""

    photo: str
    mask: str
    error: str | None

    @classmethod
    def of(cls, job: Job) -> "Planned":
        error = None if job.error is None else str(job.error)
        return cls(job.photo.as_posix(), job.paths.mask.as_posix(), error)


def plan(*batches: str, **options: Any) -> list[list[Planned]]:
    """Plan batches of names that are separated by spaces."""
    inputs = ([Path(name) for name in batch.split()] for batch in batches)
    planned = plan_incoming(inputs, OutputPaths(Path("out")), **options)
    return [[Planned.of(job) for job in jobs] for jobs in planned]


def errors(*batches: str, **options: Any) -> list[str | None]:
    return [job.error for jobs in plan(*batches, **options) for job in jobs]


def test_each_batch_is_planned_before_the_next_one_comes() -> None:
    asked = []

    def inputs() -> Iterator[list[Path]]:
        for name in ("a.png", "photos"):
            asked.append(name)
            yield [Path(name)]

    planned = plan_incoming(inputs(), OutputPaths(Path("out")), recursive=True)
    assert asked == []
    assert [Planned.of(job) for job in next(planned)] == [
        Planned("a.png", "out/a_segmentation.png", None)
    ]
    assert asked == ["a.png"]
    assert [Planned.of(job) for job in next(planned)] == [
        Planned("photos/x.png", "out/x_segmentation.png", None),
        Planned("photos/below/x.png", "out/below/x_segmentation.png", None),
    ]


def test_a_second_photo_of_the_same_result_is_refused() -> None:
    first, second, third = errors("a.png other/a.png b.jpg")
    assert (first, third) == (None, None)
    assert second is not None
    assert "an earlier photo gave out/a_segmentation.png, which is not replaced" in second
    assert errors("a.png", "other/a.png", skip_existing=True) == [None, second]


def test_a_photo_that_comes_again_is_refused_once_it_has_a_mask(here: Path) -> None:
    assert plan("a.png b.jpg a.png")[1:] == [plan("a.png")[0]]  # after the first has been run
    inputs = ([Path("a.png")] for _ in range(2))
    planned = plan_incoming(inputs, OutputPaths(Path("out")))
    assert next(planned)[0].error is None
    write_mask(here / "out" / "a_segmentation.png", drawing(0)[1])
    assert "was segmented before as out/a_segmentation.png" in str(next(planned)[0].error)
    assert errors("a.png", "a.png", skip_existing=True) == [None, None]


def test_results_and_inputs_are_kept_apart(here: Path) -> None:
    assert errors("a.png", "out/a_segmentation.png")[1] == (
        "out/a_segmentation.png is a result of this run, not a photo"
    )
    write_photo(here / "out" / "b_segmentation.png")
    refusal = errors("out/b_segmentation.png", "b.jpg")[1]
    assert refusal == "out/b_segmentation.png is an input, which is not replaced; choose another -o"


def test_what_may_be_truth_is_not_replaced(here: Path) -> None:
    write_mask(here / "out" / "c_segmentation.png", drawing(0)[1])
    write_photo(here / "out" / "c.png")
    assert "may be ground truth" in str(errors("out/c.png")[0])
    assert errors("out/c.png", skip_existing=True) == [None]


def test_names_that_are_no_photos_fail_alone() -> None:
    results = errors("-", "empty", "missing.png", f"{'n' * 300}.png", "a.png")
    assert "expected the name of a file" in str(results[0])
    assert "no photos in this folder" in str(results[1])
    assert results[2] is None  # it fails when it is read
    assert results[-1] is None


def test_labels_are_checked_for_each_photo() -> None:
    def check(photo: Path) -> None:
        if photo.stem == "b":
            raise LesionsegError("labels are there")

    assert errors("a.png b.jpg", check_labels=check) == [None, "labels are there"]


def test_results_of_a_stream_need_a_folder() -> None:
    with pytest.raises(LesionsegError, match="expected a folder"):
        plan_incoming(iter([]), OutputPaths(Path("out.png")))


@given(st.lists(st.text(max_size=3)))
def test_a_set_of_hashes_is_a_set(texts: list[str]) -> None:
    hashes, known = HashSet(), set()
    for text in texts:
        assert (text in hashes) == (text in known)
        assert hashes.add(text) == (text not in known)
        known.add(text)


def test_a_set_of_hashes_is_compact() -> None:
    assert all(map(HashSet().add, map(str, range(20_000))))  # what measures coverage settles
    tracemalloc.start()
    try:
        hashes = HashSet()
        assert all(hashes.add(str(number)) for number in range(20_000))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(str(number) in hashes for number in range(20_000))
    assert size < 22.5 * 20_000


# The command, in a process of its own


class Segmenting:
    """A running `segment --files-from -`."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lesionseg", "segment", "--files-from", "-", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, data: str) -> dict[str, Any]:
        """Send names; return the line of JSON that comes before anything else is sent."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(data.encode())
        self.process.stdin.flush()
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def end(self) -> tuple[int, str]:
        """Close the pipe; return the exit status and what was said."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said.decode()


@contextmanager
def segmenting(*words: object) -> Iterator[Segmenting]:
    running = Segmenting(*words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.mark.parametrize("end", ["\n", "\0"])
@pytest.mark.parametrize("is_exported", [True, False])
def test_each_mask_appears_before_the_next_name(
    here: Path, tmp_path: Path, end: str, is_exported: bool
) -> None:
    checkpoint = "bundled" if is_exported else saved(tmp_path / "a.pt", width=2, seed=3)
    null = ["-0"] if end == "\0" else []
    words = ["-o", "out", "--json", "-c", checkpoint, "--labels", "labels.json", *null]
    with segmenting(*words) as running:
        for name in ("a.png", "b.jpg"):
            line = running.send(f"{name}{end}")
            assert (line["file"], "error" in line) == (name, False)
            assert Path(line["mask"]).is_file()
            assert not Path("labels.json").exists()
        before = Path("out/a_segmentation.png").read_bytes()
        assert "an earlier photo gave" in running.send(f"other/a.png{end}")["error"]
        assert Path("out/a_segmentation.png").read_bytes() == before
        assert "no such file" in running.send(f"none.png{end}")["error"]
        assert running.send(f"photos/x.png{end}")["file"] == "photos/x.png"
        status, said = running.end()
    assert status == 1
    assert "photos: 3 done, 2 failed, 0 skipped" in said
    assert len(json.loads(Path("labels.json").read_text())["images"]) == 3
    record = json.loads(Path("out/lesionseg.json").read_text())
    assert (record["counts"]["made"], record["counts"]["failed"]) == (3, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_waits_for_a_name(here: Path, number: int) -> None:
    with segmenting("-o", "out", "--json") as running:
        running.send("a.png\n")
        time.sleep(0.2)  # it waits again
        os.kill(running.process.pid, number)
        running.process.wait(timeout=60)
        status, said = running.end()
    assert status == 130
    assert said.splitlines()[-1].startswith("interrupted")
    assert {path.name for path in Path("out").iterdir()} == {"a_segmentation.png", "lesionseg.json"}


def test_an_empty_pipe_is_wrong_usage(here: Path) -> None:
    with segmenting("-o", "out") as running:
        status, said = running.end()
    assert status == 2
    assert "no photos" in said
    assert not Path("out").exists()


def test_one_name_for_one_mask_is_read_whole(here: Path) -> None:
    with segmenting("-o", "mask.png") as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"a.png\n")
        status, said = running.end()
    assert (status, Path("mask.png").is_file()) == (0, True), said
    assert not Path("lesionseg.json").exists()
