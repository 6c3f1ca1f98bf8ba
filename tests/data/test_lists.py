"""Lists of names as any system writes them."""

import io
import os
import unicodedata
from pathlib import Path

import pytest
from helpers import drawing, write_mask, write_photo
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.data import lists
from lesionseg.data.discovery import find
from lesionseg.data.lists import read_names, stream_names
from lesionseg.errors import LesionsegError
from lesionseg.evaluation import scoring
from lesionseg.images.photos import read_photo
from lesionseg.segmentation.plan import OutputPaths, plan_jobs

NAMES = ["photos/Müller 1.jpg", "b.png", " c.tif"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\0"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_lists_of_every_system(encoding: str, line_end: str) -> None:
    text = "".join(name + line_end for name in NAMES) + line_end
    assert read_names(io.BytesIO(text.encode(encoding))) == NAMES


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(encoding: str) -> None:
    assert read_names(io.BytesIO("a.jpg\r\nb.jpg\r\n".encode(encoding))) == ["a.jpg", "b.jpg"]


def test_names_ended_by_nul_hold_line_breaks_and_any_byte() -> None:
    names = read_names(io.BytesIO(b"a\nb.jpg\0\xff.png\0"))
    assert names == ["a\nb.jpg", "\udcff.png"]


@given(st.lists(st.text("ab.é ", min_size=3), max_size=5))
def test_every_name_comes_back(names: list[str]) -> None:
    expected = [name for name in names if name.strip()]
    assert read_names(io.BytesIO("\n".join(names).encode())) == expected


class Pipe:
    """A pipe that is written to piece by piece, and the names that are read from it."""

    def __init__(self, null: bool = False) -> None:
        self._reader, self._writer = os.pipe()
        self.names = stream_names(self._reader, null=null)

    def write(self, data: bytes) -> "Pipe":
        os.write(self._writer, data)
        return self

    def close(self) -> list[list[str]]:
        os.close(self._writer)
        try:
            return list(self.names)
        finally:
            os.close(self._reader)


def streamed(data: bytes, null: bool = False) -> list[str]:
    batches = Pipe(null).write(data).close() if data else Pipe(null).close()
    assert all(batches)
    return [name for names in batches for name in names]


def test_names_come_as_soon_as_they_end() -> None:
    pipe = Pipe()
    assert next(pipe.write(b"a\n").names) == ["a"]
    assert next(pipe.write(b"b.jpg\r\nc").names) == ["b.jpg"]
    assert next(pipe.write(b".jpg\n\n\nd\ne").names) == ["c.jpg", "d"]
    assert pipe.close() == [["e"]]


@pytest.mark.parametrize("null", [False, True])
def test_names_ended_by_nul_come_as_soon_as_they_end(null: bool) -> None:
    pipe = Pipe(null)
    assert next(pipe.write(b"a\nb.jpg\0\xff.png\0").names) == ["a\nb.jpg", "\udcff.png"]
    assert next(pipe.write(b"c\r\0d").names) == ["c\r"]
    assert pipe.close() == [["d"]]


def test_only_null_says_what_the_first_piece_does_not() -> None:
    assert streamed(b"a\0b\0c\0", null=True) == ["a", "b", "c"]  # not UTF-16
    pipe = Pipe().write(b"a\n")
    assert next(pipe.names) == ["a"]
    with pytest.raises(LesionsegError, match="add --null"):
        pipe.write(b"b.jpg\0").close()


def test_null_reads_one_name_with_line_breaks() -> None:
    assert read_names(io.BytesIO(b"a\nb.jpg"), null=True) == streamed(b"a\nb.jpg", null=True)
    assert streamed(b"a\nb.jpg", null=True) == ["a\nb.jpg"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_streams_of_every_system(encoding: str, line_end: str) -> None:
    text = "".join(name + line_end for name in NAMES)
    assert streamed(text.encode(encoding)) == NAMES


@given(st.lists(st.text("ab.é ", min_size=3), max_size=5), st.integers(1, 30))
def test_pieces_of_any_length_hold_the_same_names(names: list[str], length: int) -> None:
    data = "\n".join(names).encode()
    pipe = Pipe()
    for start in range(0, len(data), length):
        pipe.write(data[start : start + length])
    assert [name for batch in pipe.close() for name in batch] == read_names(io.BytesIO(data))


@pytest.mark.parametrize("data", [b"\0" * 2000, b"a" * 2000, b"\n \n" * 700])
def test_a_stream_without_names(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_LARGEST_NAMELESS", 1000)
    with pytest.raises(LesionsegError, match="standard input: expected a list of names, got"):
        streamed(data)


def test_a_photo_by_mistake_in_a_stream(tmp_path: Path) -> None:
    with pytest.raises(LesionsegError, match="got a photo or another binary file"):
        streamed(write_photo(tmp_path / "a.jpg").read_bytes()[:9000])


@given(st.binary())
def test_any_bytes_are_names_or_refused_in_one_line(data: bytes) -> None:
    refusal = ""
    try:
        names = read_names(io.BytesIO(data))
    except LesionsegError as error:
        names, refusal = [], str(error)
    assert "\n" not in refusal
    assert not any("\0" in name for name in names)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".gif"])
def test_a_photo_by_mistake(tmp_path: Path, suffix: str) -> None:
    path = write_photo(tmp_path / f"a{suffix}")
    with pytest.raises(LesionsegError, match="got a photo or another binary file"):
        read_names(path)


def test_a_list_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_LARGEST", 10**6)
    with pytest.raises(LesionsegError, match=r"^/dev/zero: over 1.0 MB: expected a list of names"):
        read_names(Path("/dev/zero"))


@pytest.mark.parametrize(
    "line",
    [
        "x.v2",
        "X.V2",
        "x.v2.png",
        "x.v2_segmentation",
        "x.v2_segmentation.png",
        "./images/x.v2.png",
        "images\\X.v2.png",
        "/data/images/x.v2",
    ],
)
def test_ids_of_data_lists(tmp_path: Path, line: str) -> None:
    for name in ("x.v2", "y"):
        write_photo(tmp_path / "images" / f"{name}.png")
        write_mask(tmp_path / "masks" / f"{name}_segmentation.png", drawing(0)[1])
    (tmp_path / "val.txt").write_text(f"{line}\n", encoding="utf-16")
    dataset = find(tmp_path)
    assert [pair.id for pair in dataset.pairs["val"]] == ["x.v2"]
    assert dataset.problems == ()


def test_a_folder_named_as_a_list(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    write_mask(tmp_path / "a_segmentation.png", drawing(0)[1])
    (tmp_path / "val.txt").mkdir()
    with pytest.raises(LesionsegError, match=r"val.txt: expected a list of ids"):
        find(tmp_path)


# Accents, composed (NFC) or apart from their letters (NFD)

COMPOSED, APART = (unicodedata.normalize(form, "Müller é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("photo", "mask"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_photos_and_masks_find_each_other(tmp_path: Path, photo: str, mask: str) -> None:
    write_photo(tmp_path / "images" / f"{photo}.png")
    write_photo(tmp_path / "images" / "b.png")
    write_mask(tmp_path / "masks" / f"{mask}_segmentation.png", drawing(0)[1])
    write_mask(tmp_path / "masks" / "b_segmentation.png", drawing(0)[1])
    (tmp_path / "val.txt").write_text(f"{mask}\n", encoding="utf-8")
    dataset = find(tmp_path)
    assert dataset.problems == ()
    (pair,) = dataset.pairs["val"]
    assert pair.id == photo  # as it is written
    write_mask(tmp_path / "mine" / f"{mask}.png", drawing(0)[1])
    result = scoring.compare(tmp_path / "mine", [pair], workers=1)
    assert [score.id for score in result.scores] == [photo]


def test_labels_find_their_photo(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / f"{APART}.png")
    height, width = read_photo(photo).shape[:2]
    (tmp_path / "labels.json").write_text(
        f'{{"images": [{{"id": 1, "file_name": "{COMPOSED}.png", "height": {height}, '
        f'"width": {width}}}], "categories": [{{"id": 1, "name": "lesion"}}], "annotations": '
        '[{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}]}',
        encoding="utf-8",
    )
    dataset = find(tmp_path)
    assert [pair.photo for pair in dataset.split("all")] == [photo]
    assert dataset.problems == ()


def test_an_id_as_long_as_its_photo(tmp_path: Path) -> None:
    """Lower case may be longer: that of a Turkish capital I has two characters."""
    write_photo(tmp_path / "İ.jpg")
    write_mask(tmp_path / "İ_segmentation.png", drawing(0)[1])
    (pair,) = find(tmp_path).split("all")
    assert pair.id == "İ"


def test_two_results_of_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in (COMPOSED, APART):
        write_photo(folder / f"{name}.png")
    if len(list(folder.iterdir())) < 2:
        pytest.skip("this disk holds no two such names")
    with pytest.raises(LesionsegError, match="would both give"):
        plan_jobs([folder], OutputPaths(tmp_path / "masks"))
