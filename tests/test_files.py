"""A file is written completely or not at all."""

import csv
import errno
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lesionseg import files, store
from lesionseg.errors import DiskFullError, LesionsegError


def contents(folder: Path) -> dict[str, str]:
    """The names and texts of all files in a folder, hidden ones included."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file"
    for text in ("first", "second"):
        with files.atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            temporary.write_text(text)
            assert not target.exists() or target.read_text() != text
        assert contents(target.parent) == {"file": text}


@pytest.mark.parametrize("letter", ["x", "\u4e16", "\U0001f600", "\udcff"])
def test_a_name_as_long_as_a_disk_takes(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(os.fsencode(letter)))
    files.write(tmp_path / name, "content")
    assert contents(tmp_path) == {name: "content"}


def test_text_with_any_line_break_is_one_row(tmp_path: Path) -> None:
    rows = [["a\rb", "1"], ["a\nb", ""], ["a\r\nb", "\r\n"], ["plain", "2"]]
    with files.AtomicTextFile(tmp_path / "table.csv") as file:
        table = files.TableWriter(file)
        for row in rows:
            table.writerow(row)
    content = (tmp_path / "table.csv").read_bytes().decode()
    assert content.endswith("plain,2\n")
    assert list(csv.reader(io.StringIO(content, newline=""))) == rows


def write_half(target: Path, error: BaseException) -> None:
    with files.atomic_write(target) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(error):
        write_half(tmp_path / "file", error())
    assert contents(tmp_path) == {"file": "old"}


def test_an_error_of_the_operating_system_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LesionsegError, match=r"^cannot write .*/file: No space left on device$"):
        write_half(tmp_path / "file", OSError(28, "No space left on device"))
    assert contents(tmp_path) == {}


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with (
        pytest.raises(LesionsegError, match=rf"^cannot write {tmp_path}: it is a folder; name a "),
        files.atomic_write(tmp_path),
    ):
        pytest.fail("the block began")


def test_a_folder_on_a_drive_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "masks").symlink_to(tmp_path / "drive" / "masks")
    with pytest.raises(LesionsegError, match=r"cannot write .*/a: .*/masks is a broken link$"):
        files.write(tmp_path / "masks" / "a", "content")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "file" / "photo.png"
    target.parent.write_text("kept")
    with (
        pytest.raises(
            LesionsegError, match=rf"^cannot write {target}: {target.parent} is not a folder$"
        ),
        files.atomic_write(target),
    ):
        pytest.fail("the block began")
    assert contents(tmp_path) == {"file": "kept"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_device_is_written_to_as_it_is() -> None:
    with files.atomic_write(Path("/dev/null")) as path:
        assert path == Path("/dev/null")
        path.write_text("text")
    assert Path("/dev/null").is_char_device()
    with (
        pytest.raises(LesionsegError, match=r"^cannot write /dev/full: No space left on device$"),
        files.atomic_write(Path("/dev/full")) as path,
    ):
        path.write_text("text")


@pytest.mark.skipif(os.name == "nt", reason="no such permissions")
def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with files.atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(LesionsegError, match=r"^cannot write .*: Permission denied$"),
            files.atomic_write(tmp_path / "file") as temporary,
        ):
            temporary.write_text("text")
    finally:
        tmp_path.chmod(0o700)


HOLD = """
import sys, time
from pathlib import Path
from lesionseg import files, store
with {manager}:
    {content}
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def hold() -> Iterator[Callable[[str, str], "subprocess.Popen[str]"]]:
    """Start processes that write something for ever; they are killed at the end."""
    processes = []

    def start(manager: str, content: str) -> "subprocess.Popen[str]":
        code = HOLD.format(manager=manager, content=content)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="no such locks")
def test_what_killed_processes_left_is_removed(
    tmp_path: Path, hold: Callable[[str, str], "subprocess.Popen[str]"]
) -> None:
    writing = f"files.atomic_write(Path({str(tmp_path)!r}) / 'a.png') as path"
    killed, living = (hold(writing, "path.write_text('half')") for _ in range(2))
    killed.kill()
    killed.wait()
    foreign = [tmp_path / name for name in (".a.part", "a.12345678.part", ".a.12345678.part.png")]
    for path in foreign:
        path.touch()
    (tmp_path / ".link.12345678.part").symlink_to("a.12345678.part")
    (tmp_path / ".folder.12345678.part").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    files.write(tmp_path / "b.png", "text")
    (gone,) = before - {path.name for path in tmp_path.iterdir()}
    assert gone.startswith(".a.png.")
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".a.png.")]) == 1
    assert living.poll() is None


def test_without_locks_what_is_a_day_old_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    old, new = tmp_path / ".old.12345678.part", tmp_path / ".new.12345678.part"
    for path, age in ((old, 90_000), (new, 80_000)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    files.write(tmp_path / "file", "text")
    assert contents(tmp_path) == {".new.12345678.part": "", "file": "text"}


@pytest.mark.skipif(os.name != "posix", reason="no such locks")
def test_unfinished_folders_of_killed_processes_are_removed(
    tmp_path: Path, hold: Callable[[str, str], "subprocess.Popen[str]"]
) -> None:
    shared, part = tmp_path / "shared", tmp_path / "shared" / ".hash.12345678.part"
    manager = f"files.shared_folder(Path({str(shared)!r}))"
    process = hold(manager, f"Path({str(part)!r}).mkdir()")
    (part / "photos").touch()
    with files.shared_folder(shared):
        assert part.exists()
    process.kill()
    process.wait()
    with files.shared_folder(shared):
        assert not part.exists()


def test_a_full_disk_is_a_kind_of_error_of_its_own(tmp_path: Path) -> None:
    for number, kind in ((errno.ENOSPC, DiskFullError), (errno.EACCES, LesionsegError)):
        with pytest.raises(LesionsegError) as caught:
            write_half(tmp_path / "file", OSError(number, "reason"))
        assert caught.type is kind


@pytest.mark.parametrize("name", ["=1+1.png", "+a", "-a", "@a", "\ta", "\ra"])
def test_no_spreadsheet_runs_a_name(name: str) -> None:
    assert files.spreadsheet_text(name) == f"'{name}"
    for harmless in (f"a{name}", f"./{name}", "", "-"):
        assert files.spreadsheet_text(harmless) == harmless


def test_a_place_that_cannot_be_written_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "drive")
    below = tmp_path / "file" / "a" / "b.png"
    for path, is_folder, reason in (
        (tmp_path, False, "it is a folder; name a file"),
        (below, False, f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / "file", True, f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / "link" / "a.png", False, f"{tmp_path / 'link'} is a broken link"),
        (tmp_path / ("n" * 300) / "a.png", False, "File name too long"),
    ):
        with pytest.raises(LesionsegError) as caught:
            files.check_writable(path, is_folder=is_folder)
        assert str(caught.value) == f"cannot write {path}: {reason}"
    files.check_writable(tmp_path / "file")
    files.check_writable(tmp_path / "new" / "a.png")
    files.check_writable(tmp_path / "new", is_folder=True)
    files.check_writable(Path("/dev/null"))
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # as on a read-only disk
    with pytest.raises(LesionsegError, match=rf"a\.png: {tmp_path} may not be written to$"):
        files.check_writable(tmp_path / "new" / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_what_cannot_be_written_in_the_cache_says_how_to_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file")
    monkeypatch.setenv(store.CACHE_VARIABLE, str(cache))
    advice = r"; to move the cache folder, set \$LESIONSEG_CACHE_DIR or give --cache-dir$"
    with pytest.raises(LesionsegError, match=rf"^cannot write .*: {cache} is not a folder{advice}"):
        files.write(cache / "runs" / "a" / "best.pt", "")
    with (
        pytest.raises(LesionsegError, match=rf"^cannot write .*: {cache} is not a folder{advice}"),
        files.shared_folder(store.pair_cache_dir()),
    ):
        pytest.fail("the block began")
