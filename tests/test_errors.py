"""Who calls the library can tell a bad photo, a missing checkpoint and a failed download apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import write_mask, write_photo

from lesionseg import store
from lesionseg.data import transfer
from lesionseg.data.pairs import Pair, read_pair
from lesionseg.data.unpack import unpack
from lesionseg.errors import (
    CheckpointError,
    DownloadError,
    LesionsegError,
    PhotoError,
    as_result,
    counted,
)
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo


def read_text_as_photo(folder: Path) -> None:
    (folder / "a.jpg").write_text("text")
    read_photo(folder / "a.jpg")


def read_missing_mask(folder: Path) -> None:
    read_mask(folder / "a.png")


def read_mask_of_another_size(folder: Path) -> None:
    photo = write_photo(folder / "a.png")
    mask = write_mask(folder / "a_segmentation.png", np.zeros((5, 7), np.bool_))
    read_pair(Pair("a", photo, mask), 32)


def find_missing_checkpoint(folder: Path) -> None:
    store.find_checkpoint("missing")


def find_missing_run(folder: Path) -> None:
    store.find_run("missing")


def fetch_from_nowhere(folder: Path) -> None:
    wanted = transfer.Transfer(
        "1/a.zip",
        folder / "a.part",
        9,
        True,
        lambda done, total: None,
        lambda line: None,
        transfer.Patience(0.1, ()),
    )
    transfer.fetch(wanted, ["http://127.0.0.1:9"])


def unpack_text(folder: Path) -> None:
    (folder / "a.zip").write_text("text")
    unpack(folder / "a.zip", folder, lambda name, data: data, lambda done, total: None)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (read_text_as_photo, PhotoError),
        (read_missing_mask, PhotoError),
        (read_mask_of_another_size, PhotoError),
        (find_missing_checkpoint, CheckpointError),
        (find_missing_run, CheckpointError),
        (fetch_from_nowhere, DownloadError),
        (unpack_text, DownloadError),
    ],
)
def test_each_fault_has_its_own_kind_of_error(
    tmp_path: Path, fail: Callable[[Path], None], kind: type[LesionsegError]
) -> None:
    with pytest.raises(LesionsegError) as caught:
        fail(tmp_path)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert type(as_result(caught.value)) is kind


@pytest.mark.parametrize(("number", "text"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos")])
def test_a_count_and_its_noun_agree(number: int, text: str) -> None:
    assert counted(number, "photo") == text
