"""The public data sets: addresses, bytes, checksums, licences; and what a set's folder says of it.

ISIC publishes no checksums: those below are the ones that public projects pin. The same files lie
under both bases, at `<base>/<year>/<file>`; a mirror is expected to keep that path.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from lesionseg import files, store
from lesionseg.errors import LesionsegError

Split = Literal["train", "val", "test"]
Kind = Literal["photos", "masks"]
Name = Literal["isic2018", "isic2017", "isic2016", "demo"]
NAMES: tuple[Name, ...] = get_args(Name)  # in the order in which one is chosen

BASES = (
    "https://isic-archive.s3.amazonaws.com/challenges",
    "https://isic-challenge-data.s3.amazonaws.com",
)
DESCRIPTION = "dataset.json"
_FORMAT, _VERSION = "lesionseg-dataset", 1
_CC0 = "CC0-1.0 (public domain; citation asked for)"
_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


@dataclass(frozen=True)
class Archive:
    """One zip file of a data set; `bytes` is exact, or an approximation where `exact` is False."""

    file: str
    split: Split
    kind: Kind
    bytes: int
    algorithm: Literal["sha256", "md5"]
    checksum: str
    exact: bool = True

    @property
    def folder(self) -> str:
        """The name of the folder that it is unpacked to, the zip's own."""
        return self.file.removesuffix(".zip")


@dataclass(frozen=True)
class DataSet:
    """A data set that can be downloaded, or generated where it has no archives."""

    name: str
    title: str
    year: int
    photos: Mapping[str, int]  # split -> number of photos, each with one mask
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether it is generated on this machine rather than downloaded."""
        return not self.archives

    def of_splits(self, splits: Collection[str]) -> tuple[Archive, ...]:
        """Return the archives of some splits, in the catalog's order."""
        return tuple(archive for archive in self.archives if archive.split in splits)


@dataclass(frozen=True)
class Description:
    """What `dataset.json` in a set's folder says; `splits` are those that are complete.

    `shrunk` is the longest that a photo's shorter side may be, in pixels; None for full size.
    """

    name: str
    title: str
    licence: str
    synthetic: bool = False
    shrunk: int | None = None
    splits: dict[str, int] = field(default_factory=dict)  # split -> number of photos


def read_description(folder: Path) -> Description | None:
    """Read the description of the data set in `folder`; return None where there is none of ours.

    Raises:
        LesionsegError: it cannot be read, is damaged, or of another version.
    """
    path = folder / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise LesionsegError(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
        return None  # other tools call a file so, too
    if "drawn" in fields:  # as lesionseg 0.1.0 wrote it
        fields["synthetic"] = fields.pop("drawn")
    version = fields.pop("version", None)
    if version != _VERSION:
        raise LesionsegError(
            f"{path}: expected version {_VERSION}, got {version}; upgrade lesionseg, "
            "or delete the folder and download the set again"
        )
    try:
        description = Description(**fields)
    except TypeError as error:
        raise _damaged(path) from error
    if not _well_typed(description):
        raise _damaged(path)
    return description


def write_description(folder: Path, description: Description) -> None:
    """Write `dataset.json` into `folder`, atomically; create the folder.

    Raises:
        LesionsegError: the file cannot be written.
    """
    fields = {"format": _FORMAT, "version": _VERSION, **asdict(description)}
    files.write(folder / DESCRIPTION, json.dumps(fields, indent=2) + "\n")


def _damaged(path: Path) -> LesionsegError:
    return LesionsegError(
        f"{path} is damaged; download the set again into another folder, or delete this file"
    )


def _well_typed(description: Description) -> bool:
    shrunk = description.shrunk
    return (
        all(
            isinstance(text, str)
            for text in (description.name, description.title, description.licence)
        )
        and isinstance(description.synthetic, bool)
        and (shrunk is None or (type(shrunk) is int and shrunk > 0))
        and isinstance(description.splits, dict)
        and all(type(photos) is int and photos >= 0 for photos in description.splits.values())
    )


def _sha256(file: str, split: Split, kind: Kind, size: int, checksum: str) -> Archive:
    return Archive(file, split, kind, size, "sha256", checksum)


def _md5(file: str, split: Split, kind: Kind, about: float, checksum: str) -> Archive:
    return Archive(file, split, kind, round(about), "md5", checksum, exact=False)


# fmt: off
_ISIC2018 = DataSet(
    name="isic2018",
    title="ISIC 2018 Task 1: lesion boundary segmentation",
    year=2018,
    photos={"train": 2594, "val": 100, "test": 1000},
    licence=_CC0,
    citation=(
        "Codella et al., Skin Lesion Analysis Toward Melanoma Detection 2018, arXiv:1902.03368; "
        "Tschandl et al., The HAM10000 dataset, Scientific Data 5:180161 (2018)"
    ),
    archives=(
        _sha256("ISIC2018_Task1-2_Training_Input.zip", "train", "photos", 11_165_358_566,
                "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f"),
        _sha256("ISIC2018_Task1_Training_GroundTruth.zip", "train", "masks", 27_402_895,
                "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c"),
        _sha256("ISIC2018_Task1-2_Validation_Input.zip", "val", "photos", 239_231_159,
                "0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797"),
        _sha256("ISIC2018_Task1_Validation_GroundTruth.zip", "val", "masks", 759_706,
                "f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285"),
        _sha256("ISIC2018_Task1-2_Test_Input.zip", "test", "photos", 2_370_457_338,
                "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d"),
        _sha256("ISIC2018_Task1_Test_GroundTruth.zip", "test", "masks", 9_680_101,
                "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82"),
    ),
)
_ISIC2017 = DataSet(
    name="isic2017",
    title="ISIC 2017 Part 1: lesion segmentation",
    year=2017,
    photos={"train": 2000, "val": 150, "test": 600},
    licence=_CC0,
    citation="Codella et al., Skin Lesion Analysis Toward Melanoma Detection, arXiv:1710.05006",
    archives=(
        _md5("ISIC-2017_Training_Data.zip", "train", "photos", 5.8 * _GIB,
             "a14a7e622c67a358797ae59abb8a0b0c"),
        _md5("ISIC-2017_Training_Part1_GroundTruth.zip", "train", "masks", 9 * _MIB,
             "77fdbeb6fbec4139937224416b250f4c"),
        _md5("ISIC-2017_Validation_Data.zip", "val", "photos", 878 * _MIB,
             "8d6419d942112f709894c0d82f6c9038"),
        _md5("ISIC-2017_Validation_Part1_GroundTruth.zip", "val", "masks", 559 * _KIB,
             "64d3e68fa2deeb8a5e89aa8dec2efd44"),
        _md5("ISIC-2017_Test_v2_Data.zip", "test", "photos", 5.4 * _GIB,
             "5f6a0b5e1f2972bd1f5ea02680489f09"),
        _md5("ISIC-2017_Test_v2_Part1_GroundTruth.zip", "test", "masks", 18 * _MIB,
             "b1742de6bd257faca3b2b21a4aa3b781"),
    ),
)
_ISIC2016 = DataSet(
    name="isic2016",
    title="ISBI 2016 ISIC Part 1: lesion segmentation",
    year=2016,
    photos={"train": 900, "test": 379},
    licence=_CC0,
    citation="Gutman et al., Skin Lesion Analysis toward Melanoma Detection, arXiv:1605.01397",
    archives=(
        _md5("ISBI2016_ISIC_Part1_Training_Data.zip", "train", "photos", 602 * _MIB,
             "2029f387e62dcc062b1370b1efc1f7fb"),
        _md5("ISBI2016_ISIC_Part1_Training_GroundTruth.zip", "train", "masks", 6 * _MIB,
             "fbd77134298f3511479a37bac93109c7"),
        _md5("ISBI2016_ISIC_Part1_Test_Data.zip", "test", "photos", 232 * _MIB,
             "efebcaeaae751007401a40a60d391f93"),
        _md5("ISBI2016_ISIC_Part1_Test_GroundTruth.zip", "test", "masks", 2 * _MIB,
             "492a7711a2e19b96114cab6c96bd1ad5"),
    ),
)
# fmt: on
_DEMO = DataSet(
    name="demo",
    title="Demo: synthetic lesions, to try the tool without a download; not for real use",
    year=0,
    photos={"train": 120, "val": 30, "test": 30},
    licence="CC0-1.0 (made by lesionseg; shows no person)",
    citation="none: made by lesionseg",
)
DATASETS = {dataset.name: dataset for dataset in (_ISIC2018, _ISIC2017, _ISIC2016, _DEMO)}


def find_data(name: str | None = None) -> Path:
    """Find a data set's folder from its path, or from the name of a downloaded set.

    Without a name, it is the first of isic2018, isic2017, isic2016 and demo that is here.

    Raises:
        LesionsegError: nothing of that name, or nothing was downloaded yet.
    """
    if name is None:
        for known in NAMES:
            here = read_description(store.data_dir(known))
            if here and here.splits:
                return store.data_dir(known)
        raise LesionsegError(
            f"no data set under {store.data_dir('')} yet; get one with 'lesionseg download' (real "
            "photos) or 'lesionseg download demo' (synthetic), or name a folder with --data"
        )
    if (folder := store.path(name)).is_dir():
        return folder
    if name in NAMES:
        here = read_description(store.data_dir(name))
        if here and here.splits:
            return store.data_dir(name)
        state = "not complete" if here else "not downloaded yet"
        raise LesionsegError(f"{name} is {state}; get it with 'lesionseg download {name}'")
    raise LesionsegError(f"no data set {name!r}: expected a folder, or one of {', '.join(NAMES)}")
