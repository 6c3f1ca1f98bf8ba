"""The real download against a server on loopback that misbehaves, and archives that do."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from server import Act, Server

from lesionseg import files, store
from lesionseg.cli import app
from lesionseg.data import unpack as unpacking
from lesionseg.data.catalog import (
    DATASETS,
    Archive,
    DataSet,
    Description,
    Kind,
    Split,
    read_description,
)
from lesionseg.data.download import Progress, download, listing
from lesionseg.data.transfer import Patience
from lesionseg.errors import LesionsegError
from lesionseg.images.encode import photo_jpeg
from lesionseg.images.masks import read_mask, shrink_mask_file
from lesionseg.images.photos import read_photo, read_photo_shrunk, shrink_photo_file
from lesionseg.images.png import mask_png

QUICK = Patience(timeout=0.3, delays=(0.0, 0.0))
PHOTOS, MASKS = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"
VAL_PHOTOS, VAL_MASKS = "ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth"
URL, MASKS_URL = f"/2018/{PHOTOS}.zip", f"/2018/{MASKS}.zip"
Usage = namedtuple("Usage", "total used free")
Zips = dict[tuple[Split, Kind], tuple[str, bytes]]  # by split and kind: the stem and the bytes


class Options(TypedDict, total=False):
    """The keyword arguments of `download`."""

    splits: Collection[str]
    bases: Sequence[str]
    archives: Path
    shrink: int
    on_progress: Callable[[Progress], None]
    note: Callable[[str], None]
    patience: Patience


def photo_and_mask(seed: int, width: int = 160, height: int = 120) -> tuple[bytes, bytes]:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    mask = np.hypot(y - height / 2, x - width / 2) < 0.3 * height + seed
    return photo_jpeg(photo), mask_png(mask)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def archive(stem: str, split: Split, kind: Kind, data: bytes, exact: bool = True) -> Archive:
    algorithm: Literal["sha256", "md5"] = "sha256" if exact else "md5"
    checksum = hashlib.new(algorithm, data).hexdigest()
    size = len(data) if exact else round(len(data) * 0.9)
    return Archive(f"{stem}.zip", split, kind, size, algorithm, checksum, exact)


def toy(zips: Zips, photos: dict[str, int], exact: bool = True) -> tuple[DataSet, dict[str, bytes]]:
    """A data set of these zips by (split, kind), and what a server holds of it."""
    archives = tuple(
        archive(stem, split, kind, data, exact) for (split, kind), (stem, data) in zips.items()
    )
    files = {f"/2018/{stem}.zip": data for stem, data in zips.values()}
    return DataSet("toy", "Toy", 2018, photos, "CC0", "none", archives), files


def toy_zips(train: int = 6, val: int = 2) -> Zips:
    zips: Zips = {}
    parts: tuple[tuple[Split, int, str, str], ...] = (
        ("train", train, PHOTOS, MASKS),
        ("val", val, VAL_PHOTOS, VAL_MASKS),
    )
    for split, count, input_stem, truth_stem in parts:
        pairs = {f"ISIC_{n:07d}": photo_and_mask(n) for n in range(count)}
        inputs = {f"{input_stem}/{name}.jpg": photo for name, (photo, _) in pairs.items()}
        inputs[f"{input_stem}/LICENSE.txt"] = b"CC0"
        inputs[f"{input_stem}/ATTRIBUTION.txt"] = b"the photographers"
        truths = {f"{truth_stem}/{n}_segmentation.png": mask for n, (_, mask) in pairs.items()}
        zips[split, "photos"] = (input_stem, zipped(inputs))
        zips[split, "masks"] = (truth_stem, zipped(truths))
    return zips


ZIPS = toy_zips()
TOY, FILES = toy(ZIPS, {"train": 6, "val": 2})
VAGUE, _ = toy(ZIPS, {"train": 6, "val": 2}, exact=False)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(dict(FILES)) as running:
        yield running


def fetch(
    server: Server, folder: Path, dataset: DataSet = TOY, **options: Unpack[Options]
) -> Description:
    options.setdefault("bases", [server.base])
    options.setdefault("patience", QUICK)
    return download(dataset, folder, **options)


def description_of(folder: Path) -> Description:
    """What the folder's `dataset.json` says; it must be there."""
    described = read_description(folder)
    assert described is not None
    return described


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def official(*splits: str) -> dict[str, bytes]:
    """What the zips of these splits hold, by path."""
    held: dict[str, bytes] = {}
    for (split, _), (_, data) in ZIPS.items():
        if split in splits:
            with zipfile.ZipFile(io.BytesIO(data)) as opened:
                held |= {name: opened.read(name) for name in opened.namelist()}
    return held


def check_whole(folder: Path, *splits: str) -> None:
    """The folder holds the files of these splits, their description, and nothing else."""
    files = tree(folder)
    described = json.loads(files.pop("dataset.json"))
    assert files == official(*splits)
    assert described["splits"] == {split: TOY.photos[split] for split in splits}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        stem for (split, _), (stem, _) in ZIPS.items() if split in splits
    }


def fails(
    match: str, server: Server, folder: Path, dataset: DataSet = TOY, **options: Unpack[Options]
) -> str:
    with pytest.raises(LesionsegError, match=match) as caught:
        fetch(server, folder, dataset, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A whole download


def test_the_whole_set(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    described = fetch(server, tmp_path / "set", on_progress=seen.append)
    assert described == Description("toy", "Toy", "CC0", splits={"train": 6, "val": 2})
    assert described == read_description(tmp_path / "set")
    check_whole(tmp_path / "set", "train", "val")
    for step in ("fetch", "verify", "unpack"):
        for archive in TOY.archives:
            mine = [one for one in seen if (one.step, one.file) == (step, archive.file)]
            assert [one.done for one in mine] == sorted(one.done for one in mine)
            assert mine[-1].done == mine[-1].total
            if step != "unpack":
                assert mine[-1].total == archive.bytes


def test_what_is_whole_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    first = fetch(server, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    asked = len(server.requests)
    assert fetch(server, tmp_path) == first
    assert len(server.requests) == asked == 4
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}


def test_another_split_is_added(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path, splits=["val"]).splits == {"val": 2}
    check_whole(tmp_path, "val")
    assert len(server.requests) == 2
    assert fetch(server, tmp_path, splits=["train"]).splits == {"val": 2, "train": 6}
    check_whole(tmp_path, "val", "train")
    assert len(server.requests) == 4


def test_a_lost_photo_is_told(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    next((tmp_path / PHOTOS).glob("*.jpg")).unlink()
    fails("expected 6 photos, got 5; delete it and run the same command again", server, tmp_path)
    shutil.rmtree(tmp_path / PHOTOS)
    fetch(server, tmp_path)
    check_whole(tmp_path, "train", "val")


def test_md5_and_a_size_known_about(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, VAGUE)
    check_whole(tmp_path, "train", "val")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"splits": ["test"]}, "toy: split 'test'; its splits are train, val"),
        ({"splits": []}, "toy: no split; its splits are train, val"),
        ({"shrink": 0}, "at least 1 pixel, got 0"),
        ({"archives": Path("/nowhere")}, "/nowhere is not a folder"),
        ({"bases": ["ftp://host"]}, r"http://... or https://..., got 'ftp://host'"),
        ({"bases": ["file:///etc"]}, "got 'file:///etc'"),
    ],
)
def test_arguments(server: Server, tmp_path: Path, options: Options, match: str) -> None:
    fails(match, server, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_another_set_is_there(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    fails("holds the data set toy, not other", server, tmp_path, replace(TOY, name="other"))


def test_an_official_folder_of_other_making(server: Server, tmp_path: Path) -> None:
    (tmp_path / PHOTOS).mkdir()
    fails("no dataset.json, so it was not downloaded by lesionseg", server, tmp_path)


def test_a_file_in_the_folder_s_place(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    fails("cannot use .*set: File exists", server, tmp_path / "set")


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_only_one_at_a_time(server: Server, tmp_path: Path) -> None:
    with files.exclusive_lock(tmp_path):
        fails("another process is writing to", server, tmp_path)
    fetch(server, tmp_path)


# The network


def half(url: str = URL) -> int:
    return len(FILES[url]) // 2


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(cut=half()), Act(cut=1000)]
    notes: list[str] = []
    fetch(server, tmp_path, note=notes.append)
    check_whole(tmp_path, "train", "val")
    assert server.ranges(URL) == [None, f"bytes={half()}-", f"bytes={half() + 1000}-"]
    assert len(notes) == 2
    assert "the connection ended after" in notes[0]


def test_many_breaks_are_borne_while_it_moves(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(cut=5000) for _ in range(15)]
    fetch(server, tmp_path)
    assert len(server.ranges(URL)) == 16


def test_a_stall_is_a_break(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(stall=half())]
    notes: list[str] = []
    fetch(server, tmp_path, note=notes.append)
    assert server.ranges(URL) == [None, f"bytes={half()}-"]
    assert "timed out" in notes[0]


def test_a_server_that_knows_no_range(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(cut=half()), Act(ignore_range=True)]
    fetch(server, tmp_path)
    check_whole(tmp_path, "train", "val")


def test_a_server_that_knows_no_range_and_always_breaks(server: Server, tmp_path: Path) -> None:
    server.always = Act(cut=half(), ignore_range=True)
    fails("cannot fetch .*the connection ended after", server, tmp_path)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("sent", "remaining"), [(1000, 0), (half() + 1000, 1000)])
def test_a_file_sent_whole_costs_nothing_that_is_here(
    server: Server, tmp_path: Path, sent: int, remaining: int
) -> None:
    server.acts[URL] = [Act(cut=half()), Act(cut=sent, ignore_range=True), Act(status=404)]
    fails("404", server, tmp_path)
    part = tmp_path / f"{PHOTOS}.zip.part"
    assert part.read_bytes() == FILES[URL][: half() + remaining]
    fetch(server, tmp_path)
    assert server.ranges(URL)[-1] == f"bytes={half() + remaining}-"
    check_whole(tmp_path, "train", "val")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (Act(status=200), "the server sent a web page, not the file"),
        (Act(body=b"log in", ignore_range=True), "the server offers 6"),
        (Act(body=b"log in", ignore_range=True, claim=0), "the connection ended after 6 of"),
    ],
)
@pytest.mark.parametrize("dataset", [TOY, VAGUE], ids=["exact", "about"])
def test_another_answer_costs_nothing_that_is_here(
    server: Server, tmp_path: Path, dataset: DataSet, act: Act, reason: str
) -> None:
    server.acts[URL] = [Act(cut=half())] + [act] * 3
    fails(reason, server, tmp_path, dataset)
    assert (tmp_path / f"{PHOTOS}.zip.part").read_bytes() == FILES[URL][: half()]
    server.acts.clear()
    fetch(server, tmp_path, dataset)
    check_whole(tmp_path, "train", "val")


def test_a_web_page_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.always = Act(status=200)
    fails("the server sent a web page, not the file", server, tmp_path, VAGUE)
    assert len(server.requests) == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_server_that_sends_another_part(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(cut=half()), Act(shifted_range=-7)]
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None, f"bytes={half()}-", None]


@pytest.mark.parametrize("dataset", [TOY, VAGUE], ids=["exact", "about"])
def test_a_server_without_lengths(server: Server, tmp_path: Path, dataset: DataSet) -> None:
    server.always = Act(claim=0)
    fetch(server, tmp_path, dataset)
    check_whole(tmp_path, "train", "val")


def test_a_break_without_a_length(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(claim=0, cut=half())]
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None, f"bytes={half()}-"]


def test_a_length_that_lies(server: Server, tmp_path: Path) -> None:
    server.always = Act(claim=17)
    message = fails("offers 17", server, tmp_path)
    assert f"expected {len(FILES[URL])} bytes" in message
    assert len(server.requests) == 1


def test_a_length_that_lies_where_none_is_known(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(claim=17)]
    fetch(server, tmp_path, VAGUE)  # cut short, so the checksum is wrong and it starts again
    assert server.ranges(URL) == [None, None]


def test_a_body_without_end_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.always = Act(claim=0, body=bytes(5 * len(FILES[URL])))
    fails("expected md5 .* got", server, tmp_path, VAGUE)
    assert not list(tmp_path.glob("*.part"))


def test_an_error_page_in_the_file_s_place(server: Server, tmp_path: Path) -> None:
    server.always = Act(body=b"<html>log in</html>")
    fails("the server offers 19", server, tmp_path)


def test_waits_longer_each_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server.acts[URL] = [Act(status=503), Act(status=429), Act(status=500)]
    fetch(server, tmp_path, splits=["train"], patience=Patience())
    assert slept == [1.0, 2.0, 4.0]


def test_gives_up_and_keeps_what_it_has(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(cut=half())] + [Act(status=503)] * 3
    message = fails("503", server, tmp_path)
    assert "run the same command again to resume" in message
    assert (tmp_path / f"{PHOTOS}.zip.part").stat().st_size == half()
    fetch(server, tmp_path)
    assert server.ranges(URL)[-1] == f"bytes={half()}-"
    check_whole(tmp_path, "train", "val")


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_file_goes_to_the_next_base_at_once(tmp_path: Path, status: int) -> None:
    with Server({}, always=Act(status=status)) as new, Server(dict(FILES)) as old:
        notes: list[str] = []
        fetch(old, tmp_path, bases=[new.base, old.base], note=notes.append)
        assert len(new.requests) == len(old.requests) == 4
        assert all(str(status) in line for line in notes)
    check_whole(tmp_path, "train", "val")


def test_the_next_base_goes_on_where_the_first_failed(tmp_path: Path) -> None:
    acts = {URL: [Act(cut=half())] + [Act(status=500)] * 9}
    with Server(dict(FILES), acts) as new, Server(dict(FILES)) as old:
        fetch(old, tmp_path, bases=[new.base, old.base])
        assert old.ranges(URL) == [f"bytes={half()}-"]
        assert len(new.ranges(URL)) == 3
    check_whole(tmp_path, "train", "val")


def test_nowhere(tmp_path: Path) -> None:
    with Server({}) as first, Server({}) as second:
        message = fails("404", first, tmp_path, bases=[first.base, second.base])
        assert first.base in message
        assert second.base in message
        assert "--mirror" in message


def test_no_server_at_all(tmp_path: Path, server: Server) -> None:
    fails("refused", server, tmp_path, bases=["http://127.0.0.1:9"])
    fails("cannot fetch", server, tmp_path, bases=["http://127.0.0.1:none"])


def test_a_mirror_with_a_path(tmp_path: Path) -> None:
    files = {f"/pub/isic{path}": data for path, data in FILES.items()}
    with Server(files) as mirror:
        fetch(mirror, tmp_path, bases=[f"{mirror.base}/pub/isic/"])
    check_whole(tmp_path, "train", "val")


def test_a_part_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PHOTOS}.zip.part").write_bytes(bytes(len(FILES[URL]) + 1))
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None]


def test_a_whole_part_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PHOTOS}.zip.part").write_bytes(FILES[URL])
    fetch(server, tmp_path)
    assert server.ranges(URL) == []


def test_a_whole_part_of_unknown_length(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PHOTOS}.zip.part").write_bytes(FILES[URL])
    fetch(server, tmp_path, VAGUE)
    assert server.ranges(URL) == [f"bytes={len(FILES[URL])}-"]  # answered with 416


def test_a_part_too_long_for_a_file_of_unknown_length(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PHOTOS}.zip.part").write_bytes(FILES[URL] + b"more")
    fetch(server, tmp_path, VAGUE)
    assert server.ranges(URL) == [f"bytes={len(FILES[URL]) + 4}-", None]


# Checksums


def test_a_damaged_part_is_fetched_from_scratch(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PHOTOS}.zip.part").write_bytes(bytes(half()))
    notes: list[str] = []
    fetch(server, tmp_path, note=notes.append)
    assert server.ranges(URL) == [f"bytes={half()}-", None]
    assert "wrong checksum" in notes[0]
    check_whole(tmp_path, "train", "val")


def test_a_wrong_file_is_fetched_from_the_other_base(tmp_path: Path) -> None:
    wrong = {URL: bytes(len(FILES[URL]))}
    with Server({**FILES, **wrong}) as new, Server(dict(FILES)) as old:
        fetch(old, tmp_path, bases=[new.base, old.base])
        assert len(new.ranges(URL)) == len(old.ranges(URL)) == 1
    check_whole(tmp_path, "train", "val")


def test_a_wrong_file_twice(server: Server, tmp_path: Path) -> None:
    server.files[MASKS_URL] = bytes(len(FILES[MASKS_URL]))
    got = hashlib.sha256(server.files[MASKS_URL]).hexdigest()
    message = fails("expected sha256", server, tmp_path)
    assert TOY.archives[1].checksum in message
    assert got in message
    assert len(server.ranges(MASKS_URL)) == 2
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / MASKS).exists()
    assert description_of(tmp_path).splits == {}


# Archives on disk


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for path, data in FILES.items():
        (folder / Path(path).name).write_bytes(data)
    return folder


def test_archives_on_disk_are_used_in_place(server: Server, tmp_path: Path, shelf: Path) -> None:
    before = tree(shelf)
    fetch(server, tmp_path / "set", archives=shelf)
    check_whole(tmp_path / "set", "train", "val")
    assert server.requests == []
    assert tree(shelf) == before


def test_an_archive_missing_on_disk_is_fetched(server: Server, tmp_path: Path, shelf: Path) -> None:
    (shelf / f"{MASKS}.zip").unlink()
    notes: list[str] = []
    fetch(server, tmp_path / "set", archives=shelf, note=notes.append)
    check_whole(tmp_path / "set", "train", "val")
    assert [path for path, _ in server.requests] == [MASKS_URL]
    assert "is not in" in notes[0]


def test_a_wrong_archive_on_disk_stays(server: Server, tmp_path: Path, shelf: Path) -> None:
    (shelf / f"{PHOTOS}.zip").write_bytes(b"no zip")
    fails("expected sha256 .*, got .*; delete it", server, tmp_path / "set", archives=shelf)
    assert (shelf / f"{PHOTOS}.zip").read_bytes() == b"no zip"
    assert server.requests == []


def test_archives_in_the_set_s_own_folder(server: Server, shelf: Path) -> None:
    fetch(server, shelf, archives=shelf)
    assert (shelf / f"{PHOTOS}.zip").read_bytes() == FILES[URL]
    assert description_of(shelf).splits == {"train": 6, "val": 2}


# The disk


def test_space_is_looked_at_before_fetching(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 1000, 1000))
    message = fails("not enough space", server, tmp_path)
    assert "toy needs 0." in message
    assert "0.0 MB is free" in message
    assert "--shrink 512" in message
    assert server.requests == []


def test_space_is_looked_at_before_unpacking(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([10**9, 1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, next(free)))
    fails(f"unpacking {PHOTOS}.zip needs", server, tmp_path)
    assert (tmp_path / f"{PHOTOS}.zip.part").exists()
    monkeypatch.undo()
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None]


@pytest.mark.parametrize("stem", [PHOTOS, VAL_MASKS])
def test_space_that_a_killed_unpacking_took_is_free_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    stale = tmp_path / f".{stem}.part" / "stale.jpg"
    stale.parent.mkdir()
    stale.write_bytes(JPEG)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 0 if stale.exists() else 10**9))
    fetch(server, tmp_path, splits=["train"])
    check_whole(tmp_path, "train")


def test_shrinking_needs_less(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = len(FILES[URL])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, largest + 30_000))
    fails("not enough space", server, tmp_path)
    fetch(server, tmp_path, splits=["train"], shrink=20)


def test_a_disk_that_fills_while_fetching(server: Server, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a Linux device that is always full")
    part = tmp_path / f"{PHOTOS}.zip.part"
    part.symlink_to("/dev/full")
    fails("the disk of .* is full; free some space", server, tmp_path)
    part.unlink()
    fetch(server, tmp_path)
    check_whole(tmp_path, "train", "val")


def test_a_disk_that_fills_while_unpacking(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "ISIC_0000003.jpg":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    fails("the disk of .* is full; free some space", server, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.json", f"{PHOTOS}.zip.part"}
    monkeypatch.undo()
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None]
    check_whole(tmp_path, "train", "val")


# Archives that are not what they should be


def of_one_zip(
    data: bytes, photos: int = 1, kind: Kind = "photos"
) -> tuple[DataSet, dict[str, bytes]]:
    return toy({("train", kind): (PHOTOS, data)}, {"train": photos})


def unpack(tmp_path: Path, data: bytes, photos: int = 1, **options: Unpack[Options]) -> set[str]:
    """Download a set of one zip; the names that it left, of which all must be in its folder."""
    folder = tmp_path / "deep" / "down" / "set"
    dataset, files = of_one_zip(data, photos)
    try:
        with Server(files) as server:
            fetch(server, folder, dataset, **options)
    finally:
        outside = [path for path in tree(tmp_path) if not path.startswith("deep/down/set/")]
        assert outside == []
        assert not list(folder.glob(".*"))
    return {path.name for path in (folder / PHOTOS).iterdir()}


def unsafe(
    tmp_path: Path, data: bytes, match: str, photos: int = 1, **options: Unpack[Options]
) -> None:
    with pytest.raises(LesionsegError, match=match) as caught:
        unpack(tmp_path, data, photos, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "deep" / "down" / "set" / PHOTOS).exists()


JPEG = photo_and_mask(0)[0]


def test_what_is_not_kept(tmp_path: Path) -> None:
    names = unpack(
        tmp_path,
        zipped(
            {
                f"{PHOTOS}/": b"",
                f"{PHOTOS}/ISIC_0000000.jpg": JPEG,
                f"{PHOTOS}/ISIC_0000000_superpixels.png": b"png",
                f"{PHOTOS}/ISIC-2017_Training_Data_metadata.csv": b"id",
                f"{PHOTOS}/LICENSE.txt": b"CC0",
                f"{PHOTOS}/ATTRIBUTION.txt": b"all",
                f"{PHOTOS}/.DS_Store": b"mac",
                f"{PHOTOS}/._ISIC_0000000.jpg": b"mac",
                f"__MACOSX/{PHOTOS}/._ISIC_0000000.jpg": b"mac",
                "__MACOSX/ISIC_0000001.jpg": b"mac",
            }
        ),
    )
    assert names == {
        "ISIC_0000000.jpg",
        "ISIC-2017_Training_Data_metadata.csv",
        "LICENSE.txt",
        "ATTRIBUTION.txt",
    }


def test_a_zip_without_its_folder(tmp_path: Path) -> None:
    assert unpack(tmp_path, zipped({"ISIC_0000000.jpg": JPEG})) == {"ISIC_0000000.jpg"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        f"{PHOTOS}/../../evil.jpg",
        "/evil.jpg",
        "..\\evil.jpg",
        "\\evil.jpg",
        "C:\\evil.jpg",
        "__MACOSX/../../evil.jpg",
        "../",
        "..",
    ],
)
def test_a_name_that_leads_outside(tmp_path: Path, name: str) -> None:
    data = zipped({f"{PHOTOS}/ISIC_0000000.jpg": JPEG, name: JPEG})
    unsafe(tmp_path, data, "would land outside its folder; delete it")


@given(st.text(min_size=1, max_size=20) | st.text("./\\:_", min_size=1, max_size=6))
def test_any_name_stays_inside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(zipped({name.replace("\0", "."): b"x"}))
    with zipfile.ZipFile(path) as opened:
        try:
            entries = unpacking._entries(opened, path)
        except LesionsegError:
            return
    for entry in entries:
        assert entry not in ("", ".", "..")
        assert not set("/\\:\0") & set(entry)


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644])
def test_a_link_or_device(tmp_path: Path, mode: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("ISIC_0000000.jpg", JPEG)
        link = zipfile.ZipInfo("ISIC_0000001.jpg")
        link.external_attr = mode << 16
        made.writestr(link, "/etc/passwd")
    unsafe(tmp_path, buffer.getvalue(), "is a link or a device", photos=2)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("other", ["a/ISIC_0000000.jpg", "b/ISIC_0000000.jpg", "isic_0000000.JPG"])
def test_a_name_twice(tmp_path: Path, other: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a/ISIC_0000000.jpg", JPEG)
        made.writestr(other, JPEG)
    unsafe(tmp_path, buffer.getvalue(), "twice", photos=2)


def test_a_bomb(tmp_path: Path) -> None:
    unsafe(tmp_path, zipped({"ISIC_0000000.jpg": bytes(5_000_000)}), "a zip bomb")


def test_a_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_MOST_FILE", len(JPEG) - 1)
    unsafe(tmp_path, zipped({"ISIC_0000000.jpg": JPEG}), "a zip bomb")


def with_declared_size(data: bytes, size: int) -> bytes:
    """The same zip, whose one entry claims another unpacked size in its central directory."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        at = opened.start_dir
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


@pytest.mark.parametrize("factor", [0.1, 1.5])
def test_a_size_that_lies(tmp_path: Path, factor: float) -> None:
    data = zipped({"ISIC_0000000.jpg": JPEG})
    unsafe(tmp_path, with_declared_size(data, int(len(JPEG) * factor)), "was not unpacked")


def test_a_bomb_that_says_it_is_small(tmp_path: Path) -> None:
    data = zipped({"ISIC_0000000.jpg": bytes(10_000_000)})
    unsafe(
        tmp_path,
        with_declared_size(data, 1000),
        "expected a zip file, got another one or a damaged one",
    )


def test_damaged_inside(tmp_path: Path) -> None:
    data = bytearray(zipped({"ISIC_0000000.jpg": JPEG}))
    data[200:260] = bytes(60)
    unsafe(tmp_path, bytes(data), "was not unpacked")


def test_encrypted(tmp_path: Path) -> None:
    data = bytearray(zipped({"ISIC_0000000.jpg": JPEG}))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as opened:
        data[opened.start_dir + 8] |= 1
    data[6] |= 1
    unsafe(tmp_path, bytes(data), "is encrypted")


def test_no_zip_at_all(tmp_path: Path) -> None:
    unsafe(tmp_path, b"no zip" * 20, "expected a zip file, got another one or a damaged one")


def test_photos_missing_in_the_zip(tmp_path: Path) -> None:
    data = zipped({"ISIC_0000000.jpg": JPEG, "LICENSE.txt": b"CC0"})
    unsafe(tmp_path, data, "expected 2 photos, got 1", photos=2)


# Shrinking


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_shrunk(server: Server, tmp_path: Path) -> None:
    described = fetch(server, tmp_path, shrink=50)
    assert described.shrunk == 50
    assert described == read_description(tmp_path)
    for folder, names in ((PHOTOS, "*.jpg"), (MASKS, "*.png")):
        paths = list((tmp_path / folder).glob(names))
        assert len(paths) == 6
        assert {size_of(path) for path in paths} == {(67, 50)}
    mask, zero_one = read_mask(tmp_path / MASKS / "ISIC_0000000_segmentation.png")
    assert not zero_one
    assert mask.mean() == pytest.approx(np.pi * 0.3**2 * 120 / 160, rel=0.02)
    assert (tmp_path / PHOTOS / "LICENSE.txt").read_bytes() == b"CC0"


def test_another_size_is_refused(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, splits=["val"], shrink=50)
    asked = len(server.requests)
    fails("use --shrink 50 again, or delete the folder", server, tmp_path, shrink=60)
    fails("this command asks for full size", server, tmp_path)
    assert len(server.requests) == asked
    fetch(server, tmp_path, shrink=50)


def test_a_size_after_full_size_is_refused(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    fails("use no --shrink again, or delete the folder", server, tmp_path, shrink=50)


def test_a_failed_start_fixes_no_size(server: Server, tmp_path: Path) -> None:
    server.always = Act(status=404)
    fails("404", server, tmp_path)
    server.always = Act()
    assert fetch(server, tmp_path, shrink=50).shrunk == 50


def test_a_photo_that_cannot_be_shrunk(tmp_path: Path) -> None:
    data = zipped({"ISIC_0000000.jpg": bytes(range(256)) * 9})
    unsafe(tmp_path, data, f"{PHOTOS}.zip: ISIC_0000000.jpg: not a photo", shrink=50)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60))
def test_photo_and_mask_end_at_the_same_size(width: int, height: int, side: int) -> None:
    photo, mask = photo_and_mask(1, width, height)
    small_photo = read_photo(io.BytesIO(shrink_photo_file(photo, side)))
    small_mask, _ = read_mask(io.BytesIO(shrink_mask_file(mask, side)))
    assert small_photo.shape[:2] == small_mask.shape
    assert min(small_mask.shape) == min(width, height, side)
    # The longer side is within half a pixel of its exact length, told in whole numbers, as a
    # length of so many and a half is right either way.
    shorter = min(width, height)
    exact = max(width, height) * min(side, shorter)  # over `shorter`
    assert 2 * abs(max(small_mask.shape) * shorter - exact) <= shorter


def test_a_small_photo_is_left_as_it_is() -> None:
    photo, mask = photo_and_mask(0)
    assert shrink_photo_file(photo, 120) == photo
    assert shrink_photo_file(photo, 119) != photo
    same_mask, _ = read_mask(io.BytesIO(shrink_mask_file(mask, 120)))
    assert (same_mask == read_mask(io.BytesIO(mask))[0]).all()


def test_a_shrunk_photo_looks_the_same() -> None:
    y, x = np.mgrid[:800, :1200]
    photo = np.stack([y * 255 // 800, x * 255 // 1200, (x + y) * 255 // 2000], 2).astype(np.uint8)
    small = read_photo(io.BytesIO(shrink_photo_file(photo_jpeg(photo), 100)))
    direct = np.asarray(Image.fromarray(photo).resize((150, 100), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - direct.astype(int)).mean() < 2


def test_a_turned_photo_is_stored_upright() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1200, 800)).save(buffer, "JPEG", exif=exif)
    small = shrink_photo_file(buffer.getvalue(), 100)
    assert read_photo(io.BytesIO(small)).shape == (150, 100, 3)


# The demo set, and the list


def test_the_demo_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionseg.data import synthetic

    def draw(folder: Path, on_progress: Callable[[int, int], None]) -> None:
        (folder / "DEMO_Training_Input").mkdir(parents=True)
        (folder / "DEMO_Training_Input" / "a.jpg").write_bytes(JPEG)
        on_progress(1, 1)

    monkeypatch.setattr(synthetic, "generate_set", draw)
    folder, demo = tmp_path / "data" / "demo", DATASETS["demo"]
    seen: list[Progress] = []
    described = download(demo, folder, on_progress=seen.append)
    assert described.synthetic
    assert described == read_description(folder)
    assert described.splits == dict(demo.photos)
    assert seen == [Progress("generate", "demo", 1, 1)]
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]

    monkeypatch.setattr(synthetic, "generate_set", None)
    assert download(demo, folder) == described


def test_the_demo_broken_off_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionseg.data import synthetic

    def stop(folder: Path, on_progress: Callable[[int, int], None]) -> None:
        (folder / "half.jpg").write_bytes(b"half")
        raise KeyboardInterrupt

    def draw(folder: Path, on_progress: Callable[[int, int], None]) -> None:
        (folder / "whole.jpg").write_bytes(b"whole")

    monkeypatch.setattr(synthetic, "generate_set", stop)
    with pytest.raises(KeyboardInterrupt):
        download(DATASETS["demo"], tmp_path / "demo")
    assert read_description(tmp_path / "demo") is None
    monkeypatch.setattr(synthetic, "generate_set", draw)
    download(DATASETS["demo"], tmp_path / "demo")
    assert set(tree(tmp_path)) == {"demo/dataset.json", "demo/whole.jpg"}


@pytest.mark.parametrize(
    "others", [["mine.txt"], ["LICENSE.txt"], ["DEMO_Test_Input/a.jpg", "mine.txt"], ["DEMO_a/b"]]
)
def test_the_demo_is_not_drawn_among_other_files(tmp_path: Path, others: list[str]) -> None:
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(LesionsegError, match="is not empty"):
        download(DATASETS["demo"], tmp_path)
    assert set(tree(tmp_path)) == set(others)


DEMO_FILES = {
    "DEMO_Test_Input/a.jpg": b"a",
    "DEMO_Training_Input/b.jpg": b"b",
    "LICENSE.txt": b"CC0",
}


def draw_three(folder: Path, on_progress: Callable[[int, int], None]) -> None:
    for name, data in DEMO_FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def test_the_demo_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionseg.data import synthetic

    monkeypatch.setattr(synthetic, "generate_set", draw_three)
    monkeypatch.chdir(tmp_path)
    described = download(DATASETS["demo"], Path())
    assert described == read_description(tmp_path)
    assert set(tree(tmp_path)) == {*DEMO_FILES, "dataset.json"}
    assert Path().samefile(tmp_path)


def test_the_demo_killed_anywhere_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionseg.data import synthetic

    folder, left = tmp_path / "demo", list[Path]()

    def recording(change: Callable[..., object]) -> Callable[..., object]:
        """The same change, and copies of the folder as a kill before or after it leaves it."""

        def keep() -> None:
            left.append(shutil.copytree(folder, tmp_path / f"left-{len(left)}"))

        def changed(*arguments: object, **more: object) -> None:
            keep()
            change(*arguments, **more)
            keep()

        return changed

    monkeypatch.setattr(synthetic, "generate_set", draw_three)
    for stale in (".demo.part", "DEMO_Training_Input"):
        (folder / stale).mkdir(parents=True)
        (folder / stale / "stale.jpg").write_bytes(b"stale")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", recording(shutil.rmtree))
        patched.setattr(Path, "replace", recording(Path.replace))
        download(DATASETS["demo"], folder)
    assert len(left) == 2 * (1 + 1 + 3 + 1 + 1)  # hidden, stale, three moved, hidden, described
    for place in [folder, *left]:
        assert download(DATASETS["demo"], place).synthetic
        for leftover in place.glob(".dataset.json.*.part"):
            leftover.unlink()
        files = tree(place)
        assert read_description(place)
        del files["dataset.json"]
        assert files == DEMO_FILES
        assert not (place / ".demo.part").exists()


@pytest.mark.parametrize(
    "options",
    [{"splits": ["train"]}, {"bases": ["http://host"]}, {"archives": Path()}, {"shrink": 512}],
)
def test_the_demo_takes_no_choices(tmp_path: Path, options: Options) -> None:
    with pytest.raises(LesionsegError, match="leave out --split, --shrink, --mirror and --arch"):
        download(DATASETS["demo"], tmp_path / "demo", **options)
    assert not (tmp_path / "demo").exists()


def test_the_list(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path))
    assert [row.dataset.name for row in listing()] == list(DATASETS)
    assert all(row.here is None for row in listing())
    fetch(server, store.data_dir("isic2018"), replace(TOY, name="isic2018"), shrink=50)
    (store.data_dir("isic2016")).mkdir()
    (store.data_dir("isic2016") / "dataset.json").write_text("damaged")
    here = {row.dataset.name: row.here for row in listing()}
    entry = here["isic2018"]
    assert entry is not None
    assert entry.splits == {"train": 6, "val": 2}
    assert entry.shrunk == 50
    assert here["isic2016"] is None


def test_the_list_tells_what_is_begun(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["lesionseg", "download", "--list"])
    server.always = Act(status=404)
    fails("404", server, store.data_dir("isic2018"), replace(TOY, name="isic2018"))
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "G" in line}
    assert "unfinished" in rows["isic2018"]
    assert "begun" not in rows["isic2017"]


def test_the_list_stays_light() -> None:
    code = (
        "import sys, lesionseg.data.download; print({'numpy', 'PIL', 'torch'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# Killed


CHILD = """
import json, os, signal, sys
from pathlib import Path
from lesionseg import store
from lesionseg.data.catalog import Archive, DataSet
from lesionseg.data.download import download
from lesionseg.data.transfer import Patience

given = json.loads(sys.argv[1])
fields = given["dataset"]
fields["archives"] = tuple(Archive(**each) for each in fields["archives"])
step, left = given["step"], given["at"]

def die(kind):
    global left
    if kind == step:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

rename = os.replace
def replace(old, new):
    die("before rename")
    rename(old, new)
    die("after rename")
os.replace = replace

download(DataSet(**fields), Path(given["folder"]), bases=[given["base"]], shrink=given["shrink"],
         patience=Patience(20, (0.0,)), on_progress=lambda progress: die(progress.step))
"""


def child(
    server: Server, folder: Path, step: str = "", at: int = 0, shrink: int | None = None
) -> subprocess.Popen[bytes]:
    arguments = {
        "dataset": asdict(TOY),
        "folder": str(folder),
        "base": server.base,
        "step": step,
        "at": at,
        "shrink": shrink,
    }
    return subprocess.Popen([sys.executable, "-W", "error", "-c", CHILD, json.dumps(arguments)])


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
@pytest.mark.parametrize(
    ("step", "at"),
    [
        ("fetch", 1),
        ("fetch", 3),
        ("verify", 1),
        ("unpack", 3),
        ("before rename", 1),  # dataset.json
        ("before rename", 2),  # the photos' folder
        ("after rename", 2),
        ("unpack", 10),  # the masks
        ("after rename", 3),
        ("before rename", 4),  # dataset.json again, with the split
    ],
)
def test_killed_and_run_again(server: Server, tmp_path: Path, step: str, at: int) -> None:
    assert child(server, tmp_path / "set", step, at).wait(20) == -signal.SIGKILL
    final = tmp_path / "set" / PHOTOS
    if final.exists():
        wanted = {path.split("/")[1] for path in official("train") if path.startswith(PHOTOS)}
        assert {path.name for path in final.iterdir()} == wanted
    assert fetch(server, tmp_path / "set").splits == {"train": 6, "val": 2}
    leftovers = list((tmp_path / "set").glob(".dataset.json.*.part"))
    assert len(leftovers) <= 1
    for leftover in leftovers:  # of some bytes, written just when it was killed
        leftover.unlink()
    check_whole(tmp_path / "set", "train", "val")
    assert server.ranges(URL)[0] is None
    assert len(server.ranges(URL)) <= 2


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_killed_from_outside_while_the_server_is_slow(server: Server, tmp_path: Path) -> None:
    server.acts[URL] = [Act(stall=half())]
    running = child(server, tmp_path)
    part, until = tmp_path / f"{PHOTOS}.zip.part", time.monotonic() + 15
    while not (part.exists() and part.stat().st_size > half() - 8192):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait(5)
    size = part.stat().st_size
    fetch(server, tmp_path)
    assert server.ranges(URL) == [None, f"bytes={size}-"]
    check_whole(tmp_path, "train", "val")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_killed_while_shrinking(server: Server, tmp_path: Path) -> None:
    assert child(server, tmp_path, "unpack", 10, shrink=50).wait(20) == -signal.SIGKILL
    fails("was downloaded with --shrink 50", server, tmp_path)
    fetch(server, tmp_path, shrink=50)
    assert {size_of(path) for path in tmp_path.rglob("ISIC*.*g")} == {(67, 50)}
    assert len(list(tmp_path.rglob("ISIC*.*g"))) == 16


# Photos as they are


def test_real_photos_shrunk(tmp_path: Path) -> None:
    data = os.environ.get("LESIONSEG_TEST_DATA")
    if not data:
        pytest.skip("LESIONSEG_TEST_DATA is not set: names the folder that holds isic-raw/")
    raw = Path(data) / "isic-raw"
    largest = sorted((raw / "images").glob("*.jpg"), key=lambda path: -path.stat().st_size)[:6]
    photos = sorted([*largest, *sorted((raw / "images").glob("*.jpg"))[:6]])
    photos = list(dict.fromkeys(photos))
    names = {path: raw / "masks" / f"{path.stem}_segmentation.png" for path in photos}
    inputs = {f"{PHOTOS}/{path.name}": path.read_bytes() for path in photos}
    truths = {f"{MASKS}/{mask.name}": mask.read_bytes() for mask in names.values()}
    dataset, files = toy(
        {
            ("train", "photos"): (PHOTOS, zipped({**inputs, f"__MACOSX/{PHOTOS}/._x.jpg": b"x"})),
            ("train", "masks"): (MASKS, zipped(truths)),
        },
        {"train": len(photos)},
    )
    folder = tmp_path / "set"
    with Server(files) as server:
        fetch(server, folder, dataset, shrink=300)
    for photo, mask in names.items():
        whole, small = (
            read_photo(path).shape[:2] for path in (photo, folder / PHOTOS / photo.name)
        )
        assert min(small) == min(300, *whole)
        assert small[1] / small[0] == pytest.approx(whole[1] / whole[0], rel=0.005)
        full, _ = read_mask(mask)
        shrunk_mask, zero_one = read_mask(folder / MASKS / mask.name)
        assert shrunk_mask.shape == small
        assert not zero_one
        assert shrunk_mask.mean() == pytest.approx(full.mean(), abs=0.003)
        seen, _ = read_photo_shrunk(photo, 64)
        again, _ = read_photo_shrunk(folder / PHOTOS / photo.name, 64)
        assert np.abs(seen.astype(int) - again.astype(int)).mean() < 3
