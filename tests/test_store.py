"""Where data sets, runs and checkpoints are looked for."""

import collections
import fractions
import os
import pickle
import zipfile
from pathlib import Path

import platformdirs
import pytest
from helpers import saved

from lesionseg import store
from lesionseg.errors import CheckpointError, LesionsegError


def make_run(name: str, *files: str, seconds: int = 0) -> Path:
    """A run whose files were written at the given time."""
    folder = store.runs_dir() / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes(b"")
        os.utime(folder / file, (seconds, seconds))
    return folder


# Folders


def test_the_cache_folder_is_that_of_the_environment(cache_dir: Path) -> None:
    assert store.cache_dir() == cache_dir
    assert store.data_dir("isic2018") == cache_dir / "data" / "isic2018"
    assert store.runs_dir() == cache_dir / "runs"
    assert store.pair_cache_dir() == cache_dir / "prepared"
    assert not cache_dir.exists()


def test_the_cache_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    for value, expected in (("here", tmp_path / "here"), ("~/kept", Path("/home/someone/kept"))):
        monkeypatch.setenv(store.CACHE_VARIABLE, value)
        assert store.cache_dir() == expected


@pytest.mark.parametrize("value", ["", None])
def test_the_cache_folder_is_else_the_users(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("/of/user"))
    if value is None:
        monkeypatch.delenv(store.CACHE_VARIABLE)
    else:
        monkeypatch.setenv(store.CACHE_VARIABLE, value)
    assert store.cache_dir() == Path("/of/user")


# Runs


def test_a_new_run_is_named_or_dated() -> None:
    assert store.new_run("first") == store.runs_dir() / "first"
    assert len(store.new_run().name) == len("2026-01-31-235959-1a2b")
    assert store.new_run() != store.new_run()
    assert not store.runs_dir().exists()


@pytest.mark.parametrize("name", ["a/b", "..", ".", "/a", "a/"])
def test_a_run_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(LesionsegError, match=r"expected a run's name, got .* use --output$"):
        store.new_run(name)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (store.LAST, " already holds a run; .*--resume"),
        (
            store.BEST,
            r" holds best\.pt, but no last\.pt: its run cannot be resumed; choose another",
        ),
    ],
)
def test_a_run_is_not_overwritten(file: str, message: str) -> None:
    folder = make_run("first", file)
    message = f"^{folder}{message}"
    with pytest.raises(LesionsegError, match=message):
        store.new_run("first")
    with pytest.raises(LesionsegError, match=message):
        store.unused_run(folder)


def test_a_folder_without_a_run_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert store.unused_run(tmp_path) == tmp_path


def test_the_run_to_resume() -> None:
    older, newer = make_run("b", store.LAST, seconds=1), make_run("a", store.LAST, seconds=2)
    make_run("c", store.BEST, seconds=3)  # cannot be resumed
    assert store.find_run() == newer
    assert store.find_run("b") == older
    assert store.find_run(str(older)) == store.find_run(older) == older
    with pytest.raises(CheckpointError, match=r"c holds best\.pt, but no last\.pt: its run cannot"):
        store.find_run("c")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (None, "^no run to resume under .*; train without --resume$"),
        ("d", "^no run 'd' to resume: neither a run's folder nor a name under "),
        ("empty", "^no run 'empty' to resume: "),
    ],
)
def test_no_run_to_resume(place: str | None, message: str) -> None:
    make_run("empty")
    with pytest.raises(LesionsegError, match=message):
        store.find_run(place)


# Checkpoints


def test_a_checkpoint_is_a_file_a_folder_or_the_name_of_a_run(tmp_path: Path) -> None:
    best = make_run("first", store.BEST, store.LAST) / store.BEST
    make_run("later", store.BEST, seconds=9)
    elsewhere = tmp_path / "model.pt"
    elsewhere.touch()
    assert store.find_checkpoint(str(elsewhere)) == elsewhere
    assert store.find_checkpoint(str(best.parent)) == best
    assert store.find_checkpoint("first") == best
    assert store.find_checkpoint(f"first/{store.LAST}") == best.with_name(store.LAST)


def test_the_checkpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (make_run(name, store.BEST) / store.BEST for name in ("first", "second"))
    make_run("later", store.BEST, seconds=9)
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "first")
    assert store.find_checkpoint() == first
    assert store.find_checkpoint("second") == second


def test_the_checkpoint_of_the_latest_run() -> None:
    make_run("b", store.BEST, seconds=1)
    newest = make_run("a", store.BEST, seconds=2)
    make_run("c", store.LAST, seconds=3)
    assert store.find_checkpoint() == newest / store.BEST


def test_the_bundled_checkpoint_where_nothing_was_trained() -> None:
    assert store.find_checkpoint() == store.BUNDLED_FILE
    make_run("begun", store.LAST)
    assert store.find_checkpoint() == store.BUNDLED_FILE
    own = make_run("own", store.BEST) / store.BEST
    assert store.find_checkpoint() == own
    assert store.BUNDLED_FILE.is_file()


def test_the_bundled_checkpoint_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_run("own", store.BEST) / store.BEST
    assert store.find_checkpoint("bundled") == store.BUNDLED_FILE
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "bundled")
    assert store.find_checkpoint() == store.BUNDLED_FILE
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "own")
    assert store.find_checkpoint() == own
    assert store.find_checkpoint("bundled") == store.BUNDLED_FILE
    with pytest.raises(
        LesionsegError, match=r"^'bundled' is the name of the weights in this package"
    ):
        store.unused_run(Path("bundled"))
    monkeypatch.chdir(own.parent)
    Path("bundled").touch()
    assert store.find_checkpoint("bundled") == store.BUNDLED_FILE


@pytest.mark.parametrize(("name", "file"), store.BUNDLED_FILES.items())
def test_all_bundled_checkpoints_have_names(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file.is_file()
    assert store.bundled_name(file) == name
    own = make_run(name, store.BEST) / store.BEST  # by an earlier version, or by hand
    assert store.bundled_name(own) is store.bundled_name(None) is None
    assert store.find_checkpoint(name) == file
    assert store.find_checkpoint(str(own)) == store.find_checkpoint(str(own.parent)) == own
    monkeypatch.chdir(own.parent)
    Path(name).touch()
    assert store.find_checkpoint(name) == file
    assert store.find_checkpoint(f"./{name}") == Path(name)
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, name)
    assert store.find_checkpoint() == file
    with pytest.raises(LesionsegError, match=f"^{name!r} is the name of the weights in this"):
        store.new_run(name)


NAMED = "; 'bundled' and 'bundled-small' are the weights in this package$"


def test_a_wrong_name_where_nothing_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        LesionsegError, match=f"no checkpoint 'x': .*no run has been trained yet{NAMED}"
    ):
        store.find_checkpoint("x")
    monkeypatch.setenv(store.CHECKPOINT_VARIABLE, "y")  # never passed over in silence
    with pytest.raises(LesionsegError, match=r"no checkpoint 'y' \(from \$LESIONSEG_CHECKPOINT\)"):
        store.find_checkpoint()


def test_a_wrong_name_lists_the_right_ones() -> None:
    for name, file in (("b", store.BEST), ("a", store.BEST), ("unfinished", store.LAST)):
        make_run(name, file)
    with pytest.raises(LesionsegError, match=f"no checkpoint 'x': .*; the runs are: a, b{NAMED}"):
        store.find_checkpoint("x")


# Runs on synthetic images


def describe(run: str, data: dict[str, object], seconds: int) -> Path:
    """The best checkpoint of a run, whose description holds this and values of other classes."""
    path = make_run(run) / store.BEST
    content = {"data": data, "weights": collections.OrderedDict(a=fractions.Fraction(1, 2))}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
    os.utime(path, (seconds, seconds))
    return path


@pytest.mark.parametrize("field", ["synthetic", "drawn"])  # the second is that of 0.1.0
def test_a_run_on_synthetic_images_is_passed_over(field: str) -> None:
    describe("demo", {field: True}, seconds=5)
    assert store.find_checkpoint() == store.BUNDLED_FILE
    assert store.runs_passed_over() == ["demo"]
    real = describe("real", {field: False}, seconds=4)
    describe("older demo", {field: True}, seconds=3)
    assert store.find_checkpoint() == real
    assert store.runs_passed_over() == ["demo"]
    newest = describe("newest", {}, seconds=6)
    assert store.find_checkpoint() == newest
    assert store.runs_passed_over() == []
    assert store.find_checkpoint("demo").parent.name == "demo"


def test_a_checkpoint_that_cannot_be_read_stays_the_default() -> None:
    for name, content in (("text", b"text"), ("empty", b"")):
        best = make_run(name) / store.BEST
        best.write_bytes(content)
        assert store.find_checkpoint() == best  # and is refused when it is loaded
        best.unlink()


class Harmful:
    """What would run code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


def test_reading_a_description_runs_no_code() -> None:
    path = describe("harmful", {"synthetic": True, "other": Harmful()}, seconds=1)
    assert store.is_synthetic(path)


def test_a_checkpoint_says_whether_its_images_were_synthetic(tmp_path: Path) -> None:
    for synthetic in (True, False):
        assert store.is_synthetic(saved(tmp_path / "a.pt", synthetic=synthetic)) is synthetic
    assert not store.is_synthetic(store.BUNDLED_FILE)
