"""The record of a run beside its masks, and that these are no truth until somebody says so."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import Command, saved, write_pairs, write_photo

from lesionseg import store
from lesionseg.data.discovery import find
from lesionseg.data.drafts import RECORD, DraftsError, drafts_in
from lesionseg.segmentation.manifest import Manifest
from lesionseg.segmentation.outcome import Tally
from lesionseg.version import __version__


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two photos."""
    folder = tmp_path / "here"
    for index, name in enumerate(("a.png", "b.png")):
        write_photo(folder / "photos" / name, index)
    monkeypatch.chdir(folder)
    return folder


def record(folder: str = "masks") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(folder) / RECORD).read_bytes())
    return content


def test_the_record_of_a_run(lesionseg: Command) -> None:
    Path("photos/c.png").write_text("not a photo")
    ended = lesionseg("segment", "photos", "-o", "masks", "--threshold", 0.4, "-c", "bundled")
    assert ended.status == 1
    assert record() == {
        "lesionseg": __version__,
        "command": "lesionseg segment photos -o masks --threshold 0.4 -c bundled",
        "checkpoints": [
            {
                "file": str(store.BUNDLED_FILE),
                "sha256": hashlib.sha256(store.BUNDLED_FILE.read_bytes()).hexdigest(),
            }
        ],
        "threshold": 0.4,
        "all_regions": False,
        "one_bit": False,
        "recursive": False,
        "counts": {"made": 2, "empty": 0, "failed": 1, "skipped": 0},
    }


def test_a_record_that_is_removed_during_a_run_is_not_written_without_its_beginning(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Manifest.end

    def remove_and_end(manifest: Manifest, tally: Tally) -> None:
        (Path("out") / RECORD).unlink()
        end(manifest, tally)

    monkeypatch.setattr(Manifest, "end", remove_and_end)
    words = ("segment", "photos", "-o", "out", "-c", "bundled")
    assert lesionseg(*words).status == 0
    assert not (Path("out") / RECORD).exists()
    assert lesionseg(*words).status == 0


def test_a_later_run_replaces_the_record_if_it_makes_masks(lesionseg: Command) -> None:
    lesionseg("segment", "photos/a.png", "-o", "masks")
    first = record()
    assert first["counts"]["made"] == 1
    lesionseg("segment", "photos/a.png", "-o", "masks", "--skip-existing")
    assert record() == first
    lesionseg("segment", "photos", "-o", "masks", "--skip-existing", "--one-bit")
    assert record()["one_bit"] is True
    assert record()["counts"] == {"made": 1, "empty": 0, "failed": 0, "skipped": 1}


def test_no_record_without_masks_in_a_folder(lesionseg: Command) -> None:
    assert lesionseg("segment", "photos/a.png", "-o", "mask.png").status == 0
    Path("bad.png").write_text("not a photo")
    assert lesionseg("segment", "bad.png", "-o", "masks").status == 1
    assert {path.name for path in Path().iterdir()} == {"photos", "mask.png", "bad.png"}


def test_an_empty_record_is_what_a_crash_left(lesionseg: Command) -> None:
    Path("out").mkdir()
    (Path("out") / RECORD).touch()
    assert lesionseg("segment", "photos", "-o", "out", "-c", "bundled").status == 0
    assert record("out")["counts"]["made"] == 2


@pytest.mark.parametrize("content", ["[]", "{}", "not JSON", '{"images": []}'])
def test_another_file_of_that_name_is_kept(lesionseg: Command, content: str) -> None:
    Path("masks").mkdir()
    (Path("masks") / RECORD).write_text(content)
    ended = lesionseg("segment", "photos", "-o", "masks")
    assert ended.status == 1
    assert "got another file" in ended.err
    assert (Path("masks") / RECORD).read_text() == content
    assert not drafts_in(Path("masks"))


def test_labels_do_not_take_its_place(lesionseg: Command) -> None:
    labels = Path("masks") / RECORD
    ended = lesionseg("segment", "photos", "-o", "masks", "--labels", labels)
    assert (ended.status, labels.exists()) == (2, False)


# Drafts are no truth


def test_drafts_beside_photos_are_refused_by_every_command(lesionseg: Command) -> None:
    lesionseg("segment", "photos", "-o", "masks")
    for words in (["eval"], ["train"], ["check"]):
        ended = lesionseg(*words, "--data", ".")
        assert (ended.status, ended.out) == (1, "")
        (line,) = (line for line in ended.err.splitlines() if not line.startswith("checkpoint "))
        assert line.startswith("error: masks: 'lesionseg segment' made these masks")
        assert line.endswith("name them with --photos photos --truth masks")


def test_drafts_are_truth_once_they_are_named(lesionseg: Command) -> None:
    lesionseg("segment", "photos", "-o", "masks")
    assert len(find(None, Path("photos"), Path("masks")).split("all")) == 2
    ended = lesionseg("eval", "--photos", "photos", "--truth", "masks", "--json", "-c", "bundled")
    assert json.loads(ended.out)["photos"] == 2


def test_drafts_in_the_folder_of_the_photos(lesionseg: Command) -> None:
    lesionseg("segment", "photos", "-o", "photos")
    with pytest.raises(DraftsError, match=f"once they are corrected, remove {RECORD}$"):
        find(Path("photos"))
    ended = lesionseg("check", "photos")
    assert "2 photos can be read; there are no masks" in ended.out
    assert "note: photos: 'lesionseg segment' made these masks" in ended.err
    (Path("photos") / RECORD).unlink()
    assert len(find(Path("photos")).split("all")) == 2


def test_drafts_below_a_recursive_run(lesionseg: Command, tmp_path: Path) -> None:
    shutil.copytree("photos", "in/images")
    lesionseg("segment", "in", "-o", "in", "--recursive")
    assert drafts_in(Path("in/images"))
    with pytest.raises(DraftsError):
        find(Path("in/images"))
    assert not drafts_in(tmp_path)


def test_a_run_that_is_not_recursive_marks_its_folder_alone(lesionseg: Command) -> None:
    write_pairs(Path("set"), 1)
    lesionseg("segment", "photos", "-o", ".")
    assert drafts_in(Path())
    assert len(find(Path("set")).split("all")) == 1


def test_labels_beside_drafts_are_taken(lesionseg: Command) -> None:
    lesionseg("segment", "photos", "-o", "masks", "--labels", "photos/labels.json")
    assert len(find(Path()).split("all")) == 2


# A full disk


@pytest.mark.parametrize("words", [(), ("--json",), ("--quiet",)])
def test_a_full_disk_is_one_line(
    lesionseg: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    checkpoint = saved(tmp_path / "a.pt", width=2, seed=3)
    for index in range(8):
        write_photo(Path(f"photos/{index}.png"))
    write, masks = Path.write_bytes, []

    def full_at_the_second(path: Path, content: bytes) -> int:
        masks.append(path.name)
        if len(masks) > 2:  # the record, a mask
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_at_the_second)
    options = ("--workers", 1, "--batch-size", 1, "-c", checkpoint, *words)
    ended = lesionseg("segment", "photos", "-o", "masks", *options)
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if not line.startswith("checkpoint "))
    assert line == (
        "error: cannot write masks/1_segmentation.png: No space left on device; stopped at photo "
        "2 of 10; free some space and add --skip-existing"
    )
    assert [path.name for path in Path("masks").glob("*.png")] == ["0_segmentation.png"]
    assert record()["counts"] is None
