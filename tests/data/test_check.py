"""What is said of photos and masks before they are used."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import Command, drawing, write_mask, write_pairs, write_photo

from lesionseg.data import check, discovery
from lesionseg.errors import LesionsegError
from lesionseg.images.masks import read_mask


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten pairs with a fault of each kind."""
    folder = write_pairs(tmp_path / "data", *range(10))
    photos, masks = folder / "images", folder / "masks"
    for part, name in ((photos, "ISIC_000000{}.png"), (masks, "ISIC_000000{}_segmentation.png")):
        shutil.copy(part / name.format(1), part / name.format(0))
    (photos / "ISIC_0000002.png").write_bytes(b"no photo")
    (masks / "ISIC_0000003_segmentation.png").unlink()
    write_mask(masks / "ISIC_0000004_segmentation.png", np.eye(20, dtype=bool))
    size = drawing(5)[1].shape
    write_mask(masks / "ISIC_0000005_segmentation.png", np.zeros(size, bool))
    write_mask(masks / "ISIC_0000006_segmentation.png", np.ones(drawing(6)[1].shape, bool))
    write_mask(masks / "ISIC_0000007_segmentation.png", ~drawing(7)[1])
    (photos / "IMG_1.HEIC").touch()
    for name in ("LICENSE.txt", ".hidden.heic"):
        (photos / name).touch()
    (folder / "val.txt").write_text("ISIC_0000001\nISIC_0000008\n")
    return folder


def names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


def test_every_fault_is_found(data: Path) -> None:
    shown: list[tuple[int, int]] = []
    result = check.check_folder(data, 2, lambda done, total: shown.append((done, total)))
    assert shown == [(count, 9) for count in range(1, 10)]
    assert (result.photos, result.splits) == (7, {"train": 5, "val": 2})
    assert result.split_source == "lists"
    assert len(result.left_out) == sum(result.left_out_by_kind.values()) == 4
    assert result.left_out_by_kind["no mask"] == 1
    assert result.left_out_by_kind["files with the ending .heic are not read"] == 1
    assert (
        result.left_out_by_kind["expected a mask of WxH pixels, the size of its photo, got WxH"]
        == 1
    )
    (group,) = result.duplicates
    assert sorted(names(group)) == ["ISIC_0000000.png", "ISIC_0000001.png"]
    assert result.duplicates_across_splits == 1
    assert sum(result.sizes.values()) == 7
    height, width = drawing(8)[1].shape
    assert f"{width}x{height}" in result.sizes
    assert result.masks is not None
    assert names(result.masks.empty) == ["ISIC_0000005_segmentation.png"]
    assert names(result.masks.full) == ["ISIC_0000006_segmentation.png"]
    assert names(result.masks.inverted) == ["ISIC_0000007_segmentation.png"]


def test_photos_without_masks(data: Path) -> None:
    result = check.check_folder(data / "images")
    assert (result.photos, result.splits, result.masks) == (9, {}, None)
    assert len(result.left_out) == 2  # one that is no photo, and one that is not read
    with pytest.raises(LesionsegError, match="no photo with a mask found"):
        check.check_folder(data / "masks")
    with pytest.raises(LesionsegError, match="cannot read folder"):
        check.check_folder(data / "nowhere")


def test_what_is_left_out_is_what_is_not_read(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photos" / "a.png")
    shutil.copy(photo, photo.with_name("by its content"))
    shutil.copy(photo, photo.with_name("b.scan"))
    shutil.copy(photo, photo.with_name("scan.jpg."))
    photo.with_name("notes").write_text("not a photo")
    photo.with_name("c.png").symlink_to("not-fetched.png")
    result = check.check_folder(photo.parent)
    assert result.photos == 4
    assert result.left_out_by_kind == {"not a photo": 1, "broken link": 1}


def test_the_command(lesionseg: Command, data: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for words in ((data,), ("--data", data)):
        ended = lesionseg("check", *words, "--json")
        result = json.loads(ended.out)
        assert ended.status == 1
        assert ended.err.endswith("images: left out: 1 empty\n")
        assert (result["photos"], len(result["left_out"])) == (7, 4)
        assert names(result["masks"]["empty"]) == ["ISIC_0000005_segmentation.png"]
    text = lesionseg("check", data)
    assert text.status == 1
    for line in (
        f"{data}: 7 photos with masks can be read: train 5, val 2 (split: lists)",
        "left out: 4",
        "  1 no mask",
        "same content under several names: 1, 1 of them in more than one split",
        "masks, possibly inverted: 1",
    ):
        assert line in text.out.splitlines()
    assert sorted(tmp_path.rglob("*")) == before
    good = write_pairs(tmp_path / "good", 1, 2)
    assert lesionseg("check", good).status == 0
    for usage in ([], [good, "--data", good]):
        wrong = lesionseg("check", *usage)
        assert (wrong.status, wrong.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("count", "lists", "said"),
    [
        (1, {}, "got train "),
        (4, {"val": ""}, "got train 4, val 0; name some in train.txt or val.txt"),
        (4, {"train": "", "val": "ISIC_0000001"}, "got train 0, val 1; name some in train.txt or"),
        (2, {"test": "ISIC_0000000\nISIC_0000001"}, "got train 0, val 0; name some in"),
    ],
)
def test_a_set_that_train_refuses(
    lesionseg: Command, tmp_path: Path, count: int, lists: dict[str, str], said: str
) -> None:
    folder = write_pairs(tmp_path / "data", *range(count))
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text(ids)
    assert lesionseg("train", "--data", folder, "--image-size", 64, "--width", 1).status == 1
    ended = lesionseg("check", folder)
    assert ended.status == ("test" not in lists)  # which 'eval' takes
    expected = "train would refuse this: expected at least 1 usable photo in train and 1 in val, "
    (line,) = (line for line in ended.out.splitlines() if line.startswith("train would"))
    assert expected + said in line
    shown = json.loads(lesionseg("check", folder, "--json").out)
    assert said in shown["untrainable"]


def test_unreadable_photos_do_not_count_for_train(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "data", *range(4))
    (folder / "val.txt").write_text("ISIC_0000001")
    assert check.check_folder(folder).untrainable == ""
    (folder / "images" / "ISIC_0000001.png").write_bytes(b"no photo")
    assert "got train 3, val 0" in check.check_folder(folder).untrainable


@pytest.mark.skipif(
    "LESIONSEG_TEST_DATA" not in os.environ, reason="LESIONSEG_TEST_DATA names no real photos"
)
def test_inverted_masks_of_real_photos() -> None:
    folder = Path(os.environ["LESIONSEG_TEST_DATA"]) / "isic256"
    masks = [read_mask(pair.mask)[0] for pair in discovery.find(folder).split("val")]
    assert not any(check.doubt_of(mask) for mask in masks)
    inverted = [check.doubt_of(~mask) == "inverted" for mask in masks]
    assert np.mean(inverted) > 0.9  # the rest reach the frame
