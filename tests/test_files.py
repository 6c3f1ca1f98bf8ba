"""A file is written completely or not at all."""

import os
from pathlib import Path

import pytest

from lesionseg import files
from lesionseg.errors import LesionsegError


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
