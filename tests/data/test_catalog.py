import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.data import synthetic
from lesionseg.data.catalog import (
    BASES,
    DATASETS,
    DESCRIPTION,
    DataSet,
    Description,
    read_description,
    write_description,
)
from lesionseg.errors import LesionsegError

ISIC = [dataset for dataset in DATASETS.values() if not dataset.synthetic]


def test_the_sets_by_name() -> None:
    assert list(DATASETS) == ["isic2018", "isic2017", "isic2016", "demo"]
    assert all(name == dataset.name for name, dataset in DATASETS.items())
    assert [dataset.name for dataset in ISIC] == ["isic2018", "isic2017", "isic2016"]


@pytest.mark.parametrize("dataset", ISIC, ids=lambda dataset: dataset.name)
def test_each_split_has_photos_and_masks(dataset: DataSet) -> None:
    pairs = [(archive.split, archive.kind) for archive in dataset.archives]
    assert pairs == [(split, kind) for split in dataset.photos for kind in ("photos", "masks")]


@pytest.mark.parametrize("dataset", ISIC, ids=lambda dataset: dataset.name)
def test_checksums_have_their_length(dataset: DataSet) -> None:
    digits = {"sha256": 64, "md5": 32}
    for archive in dataset.archives:
        assert re.fullmatch(rf"[0-9a-f]{{{digits[archive.algorithm]}}}", archive.checksum)
        assert archive.exact == (archive.algorithm == "sha256")
        assert archive.bytes > 100_000


def test_nothing_stands_in_the_table_twice() -> None:
    archives = [archive for dataset in ISIC for archive in dataset.archives]
    assert len({archive.file for archive in archives}) == len(archives) == 16
    assert len({archive.checksum for archive in archives}) == len(archives)


def test_the_new_base_comes_first() -> None:
    assert BASES[0].endswith("isic-archive.s3.amazonaws.com/challenges")
    assert not any(base.endswith("/") for base in BASES)


def test_folder_is_named_like_the_zip() -> None:
    first = DATASETS["isic2018"].archives[0]
    assert first.folder == "ISIC2018_Task1-2_Training_Input"
    chosen = DATASETS["isic2018"].of_splits(["test", "val"])
    assert [archive.split for archive in chosen] == ["val", "val", "test", "test"]


def test_demo_counts_are_those_that_are_drawn() -> None:
    assert dict(DATASETS["demo"].photos) == dict(synthetic.PHOTOS)


def test_the_catalog_stays_light() -> None:
    code = "import sys, lesionseg.data.catalog; print({'numpy', 'PIL', 'torch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@given(
    st.builds(
        Description,
        st.text(),
        st.text(),
        st.text(),
        st.booleans(),
        st.none() | st.integers(1),
        st.dictionaries(st.sampled_from(["train", "val", "test"]), st.integers(0)),
    )
)
def test_description_comes_back(
    tmp_path_factory: pytest.TempPathFactory, description: Description
) -> None:
    folder = tmp_path_factory.mktemp("set")
    write_description(folder, description)
    assert read_description(folder) == description
    assert [path.name for path in folder.iterdir()] == [DESCRIPTION]


def test_no_description(tmp_path: Path) -> None:
    assert read_description(tmp_path) is None
    assert read_description(tmp_path / "missing") is None


GOOD = {"format": "lesionseg-dataset", "version": 1, "name": "a", "title": "b", "licence": "c"}


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_description_of_version_0_1_0(tmp_path: Path, synthetic: bool) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps({**GOOD, "drawn": synthetic}))
    assert read_description(tmp_path) == Description("a", "b", "c", synthetic=synthetic)


def test_the_least_description(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps(GOOD))
    assert read_description(tmp_path) == Description("a", "b", "c")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"[" * 100_000,
        b"\x00",
        b"\xff\xfe\x00",
        b"{}",
        b'{"dataset": "of some other program"}',
        json.dumps({**GOOD, "format": "another"}).encode(),
    ],
)
def test_a_file_of_another_program_is_none_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DESCRIPTION).write_bytes(content)
    assert read_description(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**GOOD, "more": 1}),
        json.dumps({**GOOD, "name": 1}),
        json.dumps({**GOOD, "synthetic": 1}),
        json.dumps({**GOOD, "shrunk": "512"}),
        json.dumps({**GOOD, "shrunk": True}),
        json.dumps({**GOOD, "shrunk": 0}),
        json.dumps({**GOOD, "splits": ["train"]}),
        json.dumps({**GOOD, "splits": {"train": "all"}}),
        json.dumps({key: value for key, value in GOOD.items() if key != "title"}),
    ],
)
def test_a_damaged_description_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(LesionsegError, match=rf"{DESCRIPTION} is damaged") as caught:
        read_description(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_newer_version_says_so(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps({**GOOD, "version": 2}))
    with pytest.raises(LesionsegError, match="expected version 1, got 2; upgrade"):
        read_description(tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).mkdir()
    with pytest.raises(LesionsegError, match="cannot read"):
        read_description(tmp_path)
