"""Data sets are recognised in every layout, and split the same way every time."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers import touch

from lesionseg.data.discovery import Dataset, find
from lesionseg.errors import LesionsegError


def pairs_in(folder: Path, count: int) -> Path:
    for index in range(count):
        touch(folder, f"images/p{index:03}.jpg", f"masks/p{index:03}.png")
    return folder


def ids(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [pair.id for pair in pairs] for split, pairs in dataset.pairs.items()}


def names(dataset: Dataset) -> set[tuple[str, str]]:
    """The names of photo and mask of every pair."""
    return {(pair.photo.name, pair.mask.name) for pair in dataset.split("all")}


# Layouts


@pytest.mark.parametrize(
    ("train", "val", "test", "truth"),
    [
        (
            "ISBI2016_ISIC_Part1_Training_Data",
            None,
            "ISBI2016_ISIC_Part1_Test_Data",
            (
                "ISBI2016_ISIC_Part1_Training_GroundTruth",
                None,
                "ISBI2016_ISIC_Part1_Test_GroundTruth",
            ),
        ),
        (
            "ISIC-2017_Training_Data",
            "ISIC-2017_Validation_Data",
            "ISIC-2017_Test_v2_Data",
            (
                "ISIC-2017_Training_Part1_GroundTruth",
                "ISIC-2017_Validation_Part1_GroundTruth",
                "ISIC-2017_Test_v2_Part1_GroundTruth",
            ),
        ),
        (
            "ISIC2018_Task1-2_Training_Input",
            "ISIC2018_Task1-2_Validation_Input",
            "ISIC2018_Task1-2_Test_Input",
            (
                "ISIC2018_Task1_Training_GroundTruth",
                "ISIC2018_Task1_Validation_GroundTruth",
                "ISIC2018_Task1_Test_GroundTruth",
            ),
        ),
        (
            "DEMO_Training_Input",
            "demo_validation_input",
            None,
            ("DEMO_Training_GroundTruth", "demo_validation_groundtruth", None),
        ),
    ],
    ids=["2016", "2017", "2018", "demo"],
)
def test_official_folders(
    tmp_path: Path,
    train: str,
    val: str | None,
    test: str | None,
    truth: tuple[str | None, ...],
) -> None:
    for index, (photos, masks) in enumerate(zip((train, val, test), truth, strict=True)):
        if photos is not None:
            for number in (2 * index, 2 * index + 1):
                touch(tmp_path, f"{photos}/ISIC_{number}.jpg")
                touch(tmp_path, f"{photos}/ISIC_{number}_superpixels.png")
                touch(tmp_path, f"{masks}/ISIC_{number}_Segmentation.png")
            touch(tmp_path, f"{photos}/._ISIC_0.jpg", f"{photos}/licence.txt")
    dataset = find(tmp_path)
    assert dataset.problems == ()
    if val is None:  # the training photos are split
        assert {split: len(of) for split, of in ids(dataset).items()} == {
            "train": 1,
            "val": 1,
            "test": 2,
        }
        assert dataset.split_source == "seeded"
    else:
        assert ids(dataset)["train"] == ["ISIC_0", "ISIC_1"]
        assert ids(dataset)["val"] == ["ISIC_2", "ISIC_3"]
        assert dataset.split_source == "official folders"
    assert ids(dataset).get("test") == (["ISIC_4", "ISIC_5"] if test else None)


NAMES = [("a.jpg", "a.png"), ("B.JPEG", "b_segmentation.PNG"), ("c.webp", "C_Segmentation.bmp")]


@pytest.mark.parametrize(("photos", "masks"), [("images", "masks"), ("Photos", "MASKS")])
def test_a_folder_for_each(tmp_path: Path, photos: str, masks: str) -> None:
    for photo, mask in NAMES:
        touch(tmp_path, f"{photos}/{photo}", f"{masks}/{mask}")
    dataset = find(tmp_path)
    assert names(dataset) == set(NAMES)
    assert (dataset.folder, dataset.split_source, dataset.problems) == (tmp_path, "seeded", ())
    by_name = find(None, tmp_path / photos, tmp_path / masks)
    assert by_name.pairs == dataset.pairs


def test_one_folder(tmp_path: Path) -> None:
    pairs = [*NAMES, ("d.png", "d_segmentation.png"), ("e.jpg", "e.tiff")]
    for photo, mask in pairs:
        touch(tmp_path, photo, mask)
    dataset = find(tmp_path)
    assert names(dataset) == set(pairs)
    assert dataset.problems == ()


def test_two_folders_and_the_lists_beside_them(tmp_path: Path) -> None:
    pairs_in(tmp_path / "x", 4)
    (tmp_path / "val.txt").write_text("p001")
    dataset = find(tmp_path, tmp_path / "x" / "images", tmp_path / "x" / "masks")
    assert dataset.folder == tmp_path
    assert ids(dataset) == {"train": ["p000", "p002", "p003"], "val": ["p001"]}


def test_truth_alone_pairs_each_mask_with_itself(tmp_path: Path) -> None:
    touch(tmp_path, "A_segmentation.png", "b.png")
    dataset = find(None, None, tmp_path)
    assert dataset.problems == ()
    assert sorted(pair.id for pair in dataset.split("all")) == ["A", "b"]
    assert all(pair.photo == pair.mask for pair in dataset.split("all"))


def test_what_has_no_partner_or_two_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/alone.jpg", "images/twice.jpg", "images/twice.png", "images/a.jpg")
    touch(tmp_path, "masks/lost.png", "masks/twice.png", "masks/a.png", "masks/A_segmentation.png")
    touch(tmp_path, "images/fine.jpg", "masks/fine.png")
    dataset = find(tmp_path)
    assert names(dataset) == {("fine.jpg", "fine.png")}
    for name, problem in [
        ("images/alone.jpg", "no mask"),
        ("masks/lost.png", "no photo"),
        ("images/twice.png", "a second photo named 'twice'; both left out"),
        ("masks/a.png", "a second mask named 'a'; both left out"),
    ]:
        assert f"{tmp_path / name}: {problem}" in dataset.problems


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no photo with a mask found; expected the official ISIC folders"),
        (["a.jpg", "notes.txt"], r"no photo with a mask found \(.*a.jpg: no mask\); expected"),
        (["images/a.jpg", "masks/b.png"], r"found \(.*a.jpg: no mask; .*b.png: no photo\)"),
    ],
)
def test_a_folder_without_pairs(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(LesionsegError, match=rf"^{tmp_path}: .*{message}"):
        find(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    for name, reason in (("missing", "No such file or directory"), ("file", "Not a directory")):
        for arguments in ((tmp_path / name,), (None, tmp_path / name, tmp_path)):
            with pytest.raises(LesionsegError, match=rf"cannot read folder .*{name}: {reason}$"):
                find(*arguments)


# Splits


def write(folder: Path, **lists: str) -> None:
    for split, text in lists.items():
        (folder / f"{split}.txt").write_bytes(text.replace(" ", "\n").encode())


def test_lists_decide(tmp_path: Path) -> None:
    pairs_in(tmp_path, 7)
    write(
        tmp_path,
        train="\ufeffp000\r\np001\r\n\r\n",  # as Windows writes it
        val="P002.jpg\np003.png",
        test="p004_segmentation.png p004\n",
    )
    dataset = find(tmp_path)
    assert ids(dataset) == {"train": ["p000", "p001"], "val": ["p002", "p003"], "test": ["p004"]}
    assert dataset.split_source == "lists"
    assert dataset.problems == (f"{tmp_path}: 2 photos in none of the lists",)


@pytest.mark.parametrize(
    ("lists", "counts"),
    [
        ({"train": "p000"}, {"train": 1, "val": 19}),
        ({"val": "p000 p001"}, {"train": 18, "val": 2}),
        ({"test": "p000 p001"}, {"train": 16, "val": 2, "test": 2}),  # a tenth of the rest
        ({"train": "p000", "test": "p001"}, {"train": 1, "val": 18, "test": 1}),
    ],
)
def test_some_of_the_lists(tmp_path: Path, lists: dict[str, str], counts: dict[str, int]) -> None:
    write(pairs_in(tmp_path, 20), **lists)
    dataset = find(tmp_path)
    assert {split: len(pairs) for split, pairs in dataset.pairs.items()} == counts
    assert len(dataset.split("all")) == 20
    assert dataset.problems == ()
    assert dataset.split_source == ("lists" if {"train", "val"} & lists.keys() else "seeded")
    for split, text in lists.items():
        assert " ".join(ids(dataset)[split]) == text


def test_a_list_names_photos_with_spaces(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/p {n}.png" for kind in ("images", "masks") for n in (1, 2)))
    (tmp_path / "val.txt").write_text("p 2\n")
    assert ids(find(tmp_path)) == {"train": ["p 1"], "val": ["p 2"]}


def test_lists_of_train_and_test_leave_a_tenth_for_validation(tmp_path: Path) -> None:
    every = [f"p{n:03}" for n in range(20)]
    write(pairs_in(tmp_path, 20), train=" ".join(every[:10]), test=" ".join(every[10:]))
    assert {split: len(pairs) for split, pairs in find(tmp_path).pairs.items()} == {
        "train": 9,
        "val": 1,
        "test": 10,
    }


def test_a_folder_that_sounds_official_hides_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "masks/a.png", "test_data/b.jpg", "images/a_segmentation.png")
    touch(tmp_path, "images/a_overlay.png")
    dataset = find(tmp_path)
    assert names(dataset) == {("a.jpg", "a.png")}
    assert dataset.problems == ()


def test_a_name_in_two_splits_is_told(tmp_path: Path) -> None:
    for split in ("Training", "Test"):
        for name in ("a", split):
            touch(tmp_path, f"{split}_Input/{name}.jpg", f"{split}_GroundTruth/{name}.png")
    dataset = find(tmp_path)
    assert sorted(pair.id for pair in dataset.split("all")) == ["Test", "Training", "a"]
    (problem,) = dataset.problems
    assert "Test_Input/a.jpg: already in another split" in problem


def test_a_description_of_another_tool_is_nobodys_business(tmp_path: Path) -> None:
    (pairs_in(tmp_path, 2) / "dataset.json").write_text('{"channel_names": {}}')
    assert find(tmp_path).description is None


def test_lists_come_before_official_folders(tmp_path: Path) -> None:
    for split, name in (("Training", "a"), ("Validation", "b"), ("Test", "c")):
        touch(tmp_path, f"{split}_Input/{name}.jpg", f"{split}_GroundTruth/{name}.png")
    write(tmp_path, train="c", val="a", test="b")
    assert ids(find(tmp_path)) == {"train": ["c"], "val": ["a"], "test": ["b"]}


def test_ids_that_are_not_there_are_named(tmp_path: Path) -> None:
    write(pairs_in(tmp_path, 2), train="p000 lost", val="p001")
    assert find(tmp_path).problems == (f"{tmp_path / 'train.txt'}: lost has no photo with a mask",)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "p000", "val": "p001 P000.JPG"}, "p000 is in both train.txt and val.txt; "),
        ({"test": "x y"}, "test.txt: none of its ids has a photo and a mask"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, lists: dict[str, str], message: str) -> None:
    write(pairs_in(tmp_path, 2), **lists)
    with pytest.raises(LesionsegError, match=rf"^{tmp_path}.*{message}"):
        find(tmp_path)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    (pairs_in(tmp_path, 2) / "val.txt").write_bytes(b"\xff\xfa")
    with pytest.raises(
        LesionsegError,
        match=r"val.txt: cannot read this list: expected UTF-8 text, got other bytes at byte 1",
    ):
        find(tmp_path)


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (14, 1), (16, 2), (100, 10)])
def test_a_tenth_is_held_out(tmp_path: Path, count: int, held_out: int) -> None:
    dataset = find(pairs_in(tmp_path, count))
    assert len(dataset.pairs.get("val", ())) == held_out
    assert len(dataset.split("train")) == count - held_out
    assert dataset.split_source == "seeded"


def test_the_split_does_not_depend_on_folders_or_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "first", "images/twice.jpg", "images/twice.png", "masks/twice.png")
    first = find(pairs_in(tmp_path / "first", 40))
    assert first.problems
    for index in range(40):
        touch(tmp_path / "second", f"P{index:03}.JPG", f"p{index:03}_segmentation.png")
    listing = Path.iterdir

    def shuffled(folder: Path) -> Iterable[Path]:
        return random.Random(7).sample(paths := list(listing(folder)), len(paths))

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert find(tmp_path / "first") == first
    second = find(tmp_path / "second")
    for split, members in ids(second).items():
        assert [name.lower() for name in members] == ids(first)[split]
    assert ids(first)["val"] != [f"p{index:03}" for index in range(4)]


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    dataset = find(pairs_in(tmp_path, 3))
    with pytest.raises(LesionsegError, match=r"in split 'test'; the splits are: train 2, val 1$"):
        dataset.split("test")
