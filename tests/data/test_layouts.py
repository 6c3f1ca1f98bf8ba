"""Data sets as people have them: found in `check` and `eval`, and what is said where not."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import Command, drawing, touch, write_mask, write_pairs, write_photo

from lesionseg.data.discovery import Dataset, find
from lesionseg.data.filenames import may_hold_truth
from lesionseg.errors import LesionsegError

DOUBLED = "ISIC2018_Task1-2_Training_Input"


def pair(photo: Path, mask: Path, index: int) -> None:
    write_photo(photo, index)
    write_mask(mask, drawing(index)[1])


def ids(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [pair.id for pair in pairs] for split, pairs in dataset.pairs.items()}


def names(dataset: Dataset) -> set[tuple[str, str]]:
    return {(pair.photo.name, pair.mask.name) for pair in dataset.split("all")}


def checked(lesionseg: Command, *words: object) -> dict[str, object]:
    ended = lesionseg("check", *words, "--json")
    assert ended.status == 0, ended.err + ended.out
    result: dict[str, object] = json.loads(ended.out)
    return result


# Folders for the splits


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("{split}/images/{n}.jpg", "{split}/masks/{n}.png"),
        ("images/{split}/{n}.jpg", "masks/{split}/{n}_segmentation.png"),
        ("{split}/{n}.jpg", "{split}/{n}_mask.png"),
        ("set/{split}/images/{n}.jpg", "set/{split}/masks/{n}.png"),
    ],
)
def test_folders_are_the_split_of_the_set(
    lesionseg: Command, tmp_path: Path, photo: str, mask: str, val: str
) -> None:
    for n, split in enumerate(("train", "train", val, "test")):
        pair(
            tmp_path / "d" / photo.format(split=split, n=n),
            tmp_path / "d" / mask.format(split=split, n=n),
            n,
        )
    result = checked(lesionseg, tmp_path / "d")
    assert result["splits"] == {"train": 2, "val": 1, "test": 1}
    assert result["split_source"] == "folders"
    assert ids(find(tmp_path / "d")) == {"train": ["0", "1"], "val": ["2"], "test": ["3"]}


def test_a_tenth_is_held_out_where_there_is_no_folder_for_it(tmp_path: Path) -> None:
    for n in range(20):
        touch(tmp_path, f"train/images/{n}.jpg", f"train/masks/{n}.png")
    touch(tmp_path, "test/images/t.jpg", "test/masks/t.png")
    dataset = find(tmp_path)
    assert {split: len(pairs) for split, pairs in dataset.pairs.items()} == {
        "train": 18,
        "val": 2,
        "test": 1,
    }
    assert dataset.split_source == "seeded"


def test_labels_in_the_folder_of_a_split(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("valid", "b")):
        write_photo(tmp_path / split / f"{name}.png")
        height, width = drawing(0)[1].shape
        coco = {
            "images": [{"id": 1, "file_name": f"{name}.png", "height": height, "width": width}],
            "annotations": [
                {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
            ],
            "categories": [{"id": 1, "name": "lesion"}],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(coco))
    assert ids(find(tmp_path)) == {"train": ["a"], "val": ["b"]}


def test_a_split_without_masks_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.jpg", "train/masks/a.png", "test/images/b.jpg", "val/x.txt")
    dataset = find(tmp_path)
    assert names(dataset) == {("a.jpg", "a.png")}
    assert dataset.problems == (
        f"{tmp_path / 'test/images/b.jpg'}: no mask",
        f"{tmp_path / 'val'}: no photos with masks",
    )


def test_pairs_beside_such_folders_come_first(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a.jpg", "train/masks/a.png")
    touch(tmp_path, "b.jpg", "b_segmentation.png")
    assert names(find(tmp_path)) == {("b.jpg", "b_segmentation.png")}
    touch(tmp_path, "images/c.jpg", "masks/c.png", "images/train/d.jpg", "masks/train/d.png")
    assert names(find(tmp_path)) == {("c.jpg", "c.png")}


def test_masks_by_split_are_not_written_over(tmp_path: Path) -> None:
    photo = tmp_path / "images/train/a.jpg"
    assert may_hold_truth(tmp_path / "masks/train", photo)
    assert may_hold_truth(tmp_path / "SegmentationClass", tmp_path / "JPEGImages/a.jpg")
    assert not may_hold_truth(tmp_path / "masks/test", photo)
    assert not may_hold_truth(tmp_path / "masks", photo)


# Names, PH2, folders in folders


@pytest.mark.parametrize("ending", ["_mask", "_lesion", "_seg", "-mask", "_Mask", "_segmentation"])
@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("images/{}.jpg", "masks/{}{}.png"),
        ("{}.jpg", "{}{}.png"),
        ("{}.png", "{}{}.png"),
        ("{}.jpg", "{}{}.jpg"),
    ],
)
def test_endings_of_masks(tmp_path: Path, photo: str, mask: str, ending: str) -> None:
    for name in ("a", "B", "c_lesion"):
        touch(tmp_path, photo.format(name), mask.format(name, ending))
    dataset = find(tmp_path)
    assert dataset.problems == ()
    assert sorted(pair.id for pair in dataset.split("all")) == ["B", "a", "c_lesion"]
    assert all(pair.mask.stem == pair.id + ending for pair in dataset.split("all"))


def test_endings_through_the_command_line(lesionseg: Command, tmp_path: Path) -> None:
    for n, ending in enumerate(("_mask", "_lesion", "_seg", "-mask")):
        pair(tmp_path / f"d/{n}.jpg", tmp_path / f"d/{n}{ending}.png", n)
        write_mask(tmp_path / f"predictions/{n}{ending}.png", drawing(n)[1])
    assert checked(lesionseg, tmp_path / "d")["photos"] == 4
    for words in (("--data", tmp_path / "d"), ("--truth", tmp_path / "predictions")):
        ended = lesionseg(
            "eval", *words, "--predictions", tmp_path / "predictions", "--split", "all", "--json"
        )
        assert ended.status == 0, ended.err
        assert json.loads(ended.out)["photos"] == 4


def test_a_photo_may_end_like_a_mask(tmp_path: Path) -> None:
    touch(tmp_path / "a", "images/m.jpg", "images/m_lesion.jpg", "masks/m_lesion.png")
    touch(tmp_path / "a", "masks/m_mask.png")
    assert names(find(tmp_path / "a")) == {
        ("m.jpg", "m_mask.png"),
        ("m_lesion.jpg", "m_lesion.png"),
    }
    touch(tmp_path / "b", "m.jpg", "m.png", "m_lesion.jpg", "m_lesion.png")
    assert names(find(tmp_path / "b")) == {("m.jpg", "m.png"), ("m_lesion.jpg", "m_lesion.png")}
    touch(tmp_path / "c", "m.jpg", "m.png", "m_lesion.jpg")
    assert names(find(tmp_path / "c")) == {("m.jpg", "m.png")}


def test_two_masks_of_one_photo_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a_mask.png", "a_seg.png", "b.jpg", "b_mask.png")
    dataset = find(tmp_path)
    assert names(dataset) == {("b.jpg", "b_mask.png")}
    line = f"{tmp_path / 'a_seg.png'}: a second mask named 'a_seg'; both left out"
    assert line in dataset.problems


def ph2(folder: Path, *indices: int) -> Path:
    for n in indices:
        name = f"IMD{n:03}"
        place = folder / "PH2 Dataset images" / name
        pair(
            place / f"{name}_Dermoscopic_Image/{name}.bmp",
            place / f"{name}_lesion/{name}_lesion.bmp",
            n,
        )
        write_mask(place / f"{name}_roi/{name}_R1_Label3.bmp", drawing(n)[1])
    (folder / "PH2_dataset.txt").write_text("|| Name ||")
    (folder / "PH2_dataset.xlsx").write_bytes(b"PK\3\4")
    return folder


def test_ph2(lesionseg: Command, tmp_path: Path) -> None:
    folder = ph2(tmp_path / "PH2Dataset", 2, 3, 4)
    for place in (folder, folder / "PH2 Dataset images"):
        result = checked(lesionseg, "--data", place)
        assert (result["photos"], result["left_out"]) == (3, [])
    shutil.rmtree(folder / "PH2 Dataset images/IMD003/IMD003_lesion")
    dataset = find(folder)
    assert names(dataset) == {(f"IMD00{n}.bmp", f"IMD00{n}_lesion.bmp") for n in (2, 4)}
    (problem,) = dataset.problems
    assert problem.endswith("IMD003.bmp: no mask")


def test_folders_doubled_by_unpacking(lesionseg: Command, tmp_path: Path) -> None:
    truth = "ISIC2018_Task1_Training_GroundTruth"
    folder = tmp_path / "data"
    for n in range(3):
        name = f"ISIC_{n:07}"
        pair(
            folder / DOUBLED / DOUBLED / f"{name}.jpg",
            folder / truth / truth / f"{name}_segmentation.png",
            n,
        )
        touch(folder, f"__MACOSX/{DOUBLED}/._{name}.jpg", f"{DOUBLED}/__MACOSX/._{name}.jpg")
    touch(folder, f"{DOUBLED}/{DOUBLED}/ATTRIBUTION.txt")
    assert checked(lesionseg, folder)["photos"] == 3
    both = ("--photos", folder / DOUBLED, "--truth", folder / truth)
    assert checked(lesionseg, *both)["photos"] == 3


@pytest.mark.parametrize("inner", ["d", "d/d", "archive"])
def test_a_set_in_a_folder_in_a_folder(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / "d"
    touch(folder / inner, "images/a.jpg", "masks/a.png", "images/b.jpg", "masks/b.png")
    touch(folder, "__MACOSX/._d", ".DS_Store")
    (folder / inner / "val.txt").write_text("a")
    dataset = find(folder)
    assert ids(dataset) == {"train": ["b"], "val": ["a"]}
    assert dataset.folder == folder
    (folder / "val.txt").write_text("b")
    assert ids(find(folder))["val"] == ["b"]


def test_a_folder_of_labels_is_not_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "labels/pictures", "a.png")
    (tmp_path / "labels/a.json").write_text("{}")
    write_photo(tmp_path / "photos/a.png")
    with pytest.raises(LesionsegError, match=r"labels: no photo with a mask found"):
        find(None, tmp_path / "photos", tmp_path / "labels")


# Several folders of photos


def test_photos_in_two_parts(lesionseg: Command, tmp_path: Path) -> None:
    for n in range(4):
        part = tmp_path / f"HAM10000_images_part_{n // 2 + 1}"
        name = f"ISIC_{n:07}"
        pair(part / f"{name}.jpg", tmp_path / "masks" / f"{name}_segmentation.png", n)
    parts = [tmp_path / f"HAM10000_images_part_{n}" for n in (1, 2)]
    words = ("--photos", parts[0], "--photos", parts[1], "--truth", tmp_path / "masks")
    assert checked(lesionseg, *words)["photos"] == 4
    shutil.copy(parts[0] / "ISIC_0000001.jpg", parts[1])
    dataset = find(None, parts, tmp_path / "masks")
    assert [pair.id for pair in dataset.split("all")] == [f"ISIC_{n:07}" for n in (0, 2, 3)]
    line = (
        f"{parts[1] / 'ISIC_0000001.jpg'}: a second photo named 'ISIC_0000001', beside "
        f"{parts[0] / 'ISIC_0000001.jpg'}; both left out"
    )
    assert line in dataset.problems
    same = lesionseg("check", "--photos", parts[0], "--photos", parts[0], "--truth", tmp_path)
    assert (same.status, same.err.count("\n")) == (2, 1)
    assert "was given twice" in same.err


def test_a_run_on_two_parts_finds_them_again(lesionseg: Command, tmp_path: Path) -> None:
    for n in range(4):
        pair(tmp_path / f"part{n // 2}/{n}.png", tmp_path / f"masks/{n}_mask.png", n)
    parts = ("--photos", tmp_path / "part0", "--photos", tmp_path / "part1")
    shape = ("--image-size", 32, "--width", 1, "--normalisation", "none", "--device", "cpu")
    run = ("--output", tmp_path / "run", "--epochs")
    ended = lesionseg("train", *parts, "--truth", tmp_path / "masks", *shape, *run, 1)
    assert ended.status == 0, ended.err
    ended = lesionseg("train", "--resume", *run, 2)
    assert ended.status == 0, ended.err
    ended = lesionseg("eval", "-c", tmp_path / "run/best.pt", "--split", "all", "--json")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["photos"] == 4


# What is said where nothing is found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "here: nothing"),
        (
            ["images/IMG_1.jpg", "masks/ISIC_1.png"],
            "masks/ was found, but its names match no photo: ISIC_1.png against IMG_1.jpg; "
            "here: 2 folders (images, masks)",
        ),
        (
            ["images/a.jpg"],
            "images/ was found, but neither masks/ nor labels: name the folders with",
        ),
        (
            ["masks/a.png"],
            "no images/ beside it: name the folders with --photos and --truth; here: 1 ",
        ),
        (["x/a.jpg", "y/b"], "labels; name the folders with --photos and --truth; here: 2 folders"),
        (["masks/a.png", "images/b.txt"], "masks/ was found, but no photos; here: 2 folders"),
        (["a.jpg", "b.JPG", "c.png", "d"], "here: 2 .jpg, 1 .png, 1 without suffix"),
        (
            ["x/images/a.jpg", "x/masks/a.png", "y/z"],
            "a data set is in {}/x: name that folder; here: 2 folders (x, y)",
        ),
        (
            ["ISIC_Training_Input/a.jpg"],
            "ISIC_Training_Input/ was found, but no photos or masks of the same split beside it",
        ),
    ],
)
def test_the_nearest_layout_is_named(tmp_path: Path, files: list[str], expected: str) -> None:
    touch(tmp_path / "d", *files)
    (tmp_path / "d").mkdir(exist_ok=True)
    with pytest.raises(LesionsegError) as error:
        find(tmp_path / "d")
    assert expected.format(tmp_path / "d") in str(error.value)
    assert "\n" not in str(error.value)


def test_the_names_of_two_folders_are_held_against_each_other(
    lesionseg: Command, tmp_path: Path
) -> None:
    touch(tmp_path, "p/IMG_1.jpg", "m/ISIC_1.png", "empty/x.txt")
    ended = lesionseg(
        "eval", "--photos", tmp_path / "p", "--truth", tmp_path / "m", "-c", "bundled"
    )
    assert (ended.status, ended.out) == (1, "")
    assert (
        "m/ was found, but its names match no photo: ISIC_1.png against IMG_1.jpg; "
        f"in {tmp_path / 'p'}: 1 .jpg; in {tmp_path / 'm'}: 1 .png" in ended.err
    )
    with pytest.raises(LesionsegError, match=r"empty/ was found, but no masks in it; in .*1 .txt"):
        find(None, tmp_path / "p", tmp_path / "empty")


def test_a_check_of_a_broken_set_is_not_one_of_photos_without_masks(
    lesionseg: Command, tmp_path: Path
) -> None:
    folder = write_pairs(tmp_path / "d", 1, 2)
    write_photo(folder / "loose.jpg")
    (folder / "val.txt").write_text("nobody")
    ended = lesionseg("check", folder)
    assert (ended.status, ended.out) == (1, "")
    assert "none of its ids has a photo and a mask" in ended.err
