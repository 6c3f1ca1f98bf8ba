"""Bring a public data set: what is wanted, what is here, in which order; killed, it goes on.

A zip is fetched to `<set folder>/<zip>.part`, checked, and unpacked to a hidden folder beside its
own, `<set folder>/<zip stem>/`, which takes that name only when it is whole. `dataset.json` lists
a split once its photos and masks are.
"""

import errno
import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lesionseg import files, store
from lesionseg.data import catalog, transfer
from lesionseg.data.catalog import BASES, DATASETS, Archive, DataSet, Description
from lesionseg.data.unpack import unpack, unpacked_bytes
from lesionseg.errors import LesionsegError, amount, one_line

_CHUNK = 1024**2
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_BEGUN = re.compile(  # what a drawing that was broken off leaves
    r"DEMO_(Training|Validation|Test)_(Input|GroundTruth)|\.demo\.part|\.dataset\.json\.\w+\.part"
)


@dataclass(frozen=True)
class Progress:
    """Where a download stands: bytes for "fetch" and "verify", files for "unpack" and "draw"."""

    step: str
    file: str
    done: int
    total: int


@dataclass(frozen=True)
class Listed:
    """A data set of the catalog, and what is here of it (None: nothing)."""

    dataset: DataSet
    here: Description | None


def listing() -> list[Listed]:
    """All data sets of the catalog, with what is in the cache folder of each."""
    rows = []
    for dataset in DATASETS.values():
        here = None
        with suppress(LesionsegError):  # one damaged folder must not hide the others
            here = catalog.read_description(store.data_dir(dataset.name))
        rows.append(Listed(dataset, here))
    return rows


def download(
    dataset: DataSet,
    folder: Path,
    *,
    splits: Collection[str] | None = None,
    bases: Sequence[str] = BASES,
    archives: Path | None = None,
    shrink: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
    patience: transfer.Patience = transfer.PATIENCE,
) -> Description:
    """Bring `dataset` into `folder`; what is whole there already is not fetched again.

    Args:
        splits: which of the set's splits; None for all.
        bases: addresses tried in turn; a file lies at `<base>/<year>/<file>`.
        archives: a folder of zips that are on disk already: used in place, never deleted.
        shrink: the longest that a photo's shorter side may be, in pixels; None for full size.
        on_progress: called often, at every chunk or file.
        note: called with one line about a retry or another choice worth knowing.

    A drawn set is drawn whole: it takes none of `splits`, `bases`, `archives` and `shrink`.
    Returns the description of the folder, as written to its `dataset.json`.

    Raises:
        LesionsegError: network, checksum, disk, an unsafe archive, or an argument.
    """
    if dataset.drawn and (splits, tuple(bases), archives, shrink) != (None, BASES, None, None):
        raise LesionsegError(
            f"{dataset.name} is drawn here, whole: leave out --split, --shrink, --mirror "
            "and --archives"
        )
    wanted = tuple(dataset.photos) if splits is None else tuple(dict.fromkeys(splits))
    unknown = [split for split in wanted if split not in dataset.photos]
    if unknown or not wanted:
        got = f"split {unknown[0]!r}" if unknown else "no split"
        raise LesionsegError(f"{dataset.name}: {got}; its splits are {', '.join(dataset.photos)}")
    if shrink is not None and shrink < 1:
        raise LesionsegError(f"expected to shrink to at least 1 pixel, got {shrink}")
    if archives is not None and not archives.is_dir():
        raise LesionsegError(f"no folder {archives}: name the folder that holds the zip files")
    for base in bases:
        if not base.startswith(("http://", "https://")):
            raise LesionsegError(f"expected an address http://... or https://..., got {base!r}")
    report, tell = on_progress or (lambda _: None), note or (lambda _: None)
    try:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with files.exclusive_lock(folder):
            if dataset.drawn:
                return _draw(dataset, folder, report)
            wish = _Wish(dataset, folder, tuple(bases), archives, shrink, report, tell, patience)
            return _bring(wish, wanted)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LesionsegError(
                f"the disk of {folder} is full; free some space and run the same command again: "
                "it goes on where it stopped"
            ) from error
        where, reason = error.filename or folder, error.strerror or one_line(error)
        raise LesionsegError(f"cannot use {where}: {reason}; name another folder") from error


def _draw(dataset: DataSet, folder: Path, report: Callable[[Progress], None]) -> Description:
    from lesionseg.data import synthetic  # here, since it loads NumPy and Pillow

    if found := _described(dataset, folder):
        return found
    others = {path.name for path in folder.iterdir() if not _BEGUN.fullmatch(path.name)}
    if others and not (others == {"LICENSE.txt"} and any(folder.glob("DEMO_*"))):
        raise LesionsegError(f"{folder} is not empty; delete it or name another folder")
    name, title, licence = dataset.name, dataset.title, dataset.licence
    drawn = Description(name, title, licence, drawn=True, splits=dict(dataset.photos))
    with _hiding(folder / name) as hidden:
        synthetic.draw_set(hidden, lambda done, of: report(Progress("draw", name, done, of)))
        for path in sorted(hidden.iterdir()):  # LICENSE.txt after the folders
            if (final := folder / path.name).is_dir():
                shutil.rmtree(final)
            path.replace(final)
    catalog.write_description(folder, drawn)
    return drawn


def _described(dataset: DataSet, folder: Path) -> Description | None:
    found = catalog.read_description(folder)
    if found and found.name != dataset.name:
        raise LesionsegError(
            f"{folder} holds the data set {found.name}, not {dataset.name}; name another folder"
        )
    return found


@dataclass(frozen=True)
class _Wish:
    """The arguments of `download`, and where an archive of it lies."""

    dataset: DataSet
    folder: Path
    bases: tuple[str, ...]
    archives: Path | None
    shrink: int | None
    report: Callable[[Progress], None]
    note: Callable[[str], None]
    patience: transfer.Patience

    def final(self, archive: Archive) -> Path:
        return self.folder / archive.folder

    def part(self, archive: Archive) -> Path:
        return self.folder / f"{archive.file}.part"

    def local(self, archive: Archive) -> Path | None:
        path = self.archives / archive.file if self.archives else None
        return path if path and path.is_file() else None

    def at(self, step: str, archive: Archive) -> Callable[[int, int], None]:
        return lambda done, total: self.report(Progress(step, archive.file, done, total))


def _bring(wish: _Wish, wanted: Sequence[str]) -> Description:
    dataset = wish.dataset
    for archive in dataset.archives:  # what was killed while unpacking may fill the disk
        shutil.rmtree(_hidden(wish.final(archive)), ignore_errors=True)
    description = _begun(wish)
    missing = [each for each in dataset.of_splits(wanted) if not wish.final(each).exists()]
    if wish.archives and missing and not any(wish.local(each) for each in missing):
        raise LesionsegError(
            f"{wish.archives}: none of the zip files is in it, such as {missing[0].file}; "
            "name their folder, or leave out --archives to fetch them"
        )
    _require(wish, _forecast(wish, dataset.of_splits(wanted)), dataset.name)
    for split in wanted:
        for archive in dataset.of_splits([split]):
            if wish.final(archive).exists():  # it got its name when it was whole
                _check_count(wish, archive, wish.final(archive))
            else:
                _unpack(wish, archive, _obtain(wish, archive))
            wish.part(archive).unlink(missing_ok=True)
        splits = {**description.splits, split: dataset.photos[split]}
        description = replace(description, splits=splits)
        catalog.write_description(wish.folder, description)
    return description


def _begun(wish: _Wish) -> Description:
    """The description of the folder, written before anything is unpacked."""
    dataset, found = wish.dataset, _described(wish.dataset, wish.folder)
    present = [each.folder for each in dataset.archives if wish.final(each).exists()]
    if not present:
        found = Description(dataset.name, dataset.title, dataset.licence, shrunk=wish.shrink)
        catalog.write_description(wish.folder, found)
    elif not found:
        raise LesionsegError(
            f"{wish.folder} has {present[0]} but no dataset.json, so it was not downloaded "
            "by lesionseg; use it as it is with --data, or name another folder"
        )
    elif found.shrunk != wish.shrink:
        asked = f"a shorter side of {wish.shrink} px" if wish.shrink else "full size"
        here = f"--shrink {found.shrunk}" if found.shrunk else "no --shrink"
        raise LesionsegError(
            f"{wish.folder} was downloaded with {here}, now {asked} is asked for; "
            f"use {here} again, or delete the folder"
        )
    return found


def _forecast(wish: _Wish, archives: Sequence[Archive]) -> int:
    """The bytes that the disk must still take at the fullest moment."""
    missing = [each for each in archives if not wish.final(each).exists()]
    fetched = [each for each in missing if not wish.local(each)]
    zips = [each.bytes - transfer.size(wish.part(each)) for each in fetched]
    return max([0, *zips]) + sum(_kept(wish, each, each.bytes) for each in missing)


def _kept(wish: _Wish, archive: Archive, unpacked: int) -> int:
    """What is kept of `unpacked` bytes, about: a shrunk photo has under 1.5 bytes a pixel."""
    if wish.shrink is None:
        return unpacked
    return min(unpacked, wish.dataset.photos[archive.split] * wish.shrink**2 * 3 // 2)


def _require(wish: _Wish, needed: int, what: str) -> None:
    free = shutil.disk_usage(wish.folder).free
    if needed > free:
        smaller = "" if wish.shrink else ", or keep smaller photos with --shrink 512"
        raise LesionsegError(
            f"not enough space in {wish.folder}: {what} needs {amount(needed)}, "
            f"{amount(free)} are free; free some or name another folder{smaller}"
        )


def _check_count(wish: _Wish, archive: Archive, folder: Path) -> None:
    expected = wish.dataset.photos[archive.split]
    got = sum(path.suffix.lower() in _PICTURES for path in folder.iterdir())
    if got != expected:
        raise LesionsegError(
            f"{folder}: expected {expected} {archive.kind}, got {got}; delete it and "
            "run the same command again"
        )


def _obtain(wish: _Wish, archive: Archive) -> Path:
    """The zip file, its checksum verified."""
    if local := wish.local(archive):
        got = _checksum(wish, archive, local)
        if got != archive.checksum:
            raise LesionsegError(
                f"{local}: expected {archive.algorithm} {archive.checksum}, got {got}; "
                "delete it, or leave out --archives to fetch it"
            )
        return local
    if wish.archives:
        wish.note(f"{archive.file} is not in {wish.archives}: fetching it")
    path, part = f"{wish.dataset.year}/{archive.file}", wish.part(archive)
    told = (wish.at("fetch", archive), wish.note, wish.patience)
    wanted = transfer.Transfer(path, part, archive.bytes, archive.exact, *told)
    for bases in (wish.bases, wish.bases[1:] + wish.bases[:1]):
        transfer.fetch(wanted, bases)
        got = _checksum(wish, archive, part)
        if got == archive.checksum:
            return part
        part.unlink()
        wish.note(f"{archive.file}: wrong checksum {got}, removed")
    raise LesionsegError(
        f"{archive.file}: expected {archive.algorithm} {archive.checksum}, got {got} twice; "
        "try later, name a mirror with --mirror, or a folder with the zip with --archives"
    )


def _checksum(wish: _Wish, archive: Archive, path: Path) -> str:
    total, report = path.stat().st_size, wish.at("verify", archive)
    digest = hashlib.new(archive.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report(file.tell(), total)
    return digest.hexdigest()


def _unpack(wish: _Wish, archive: Archive, source: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if wish.shrink is None or Path(name).suffix.lower() not in _PICTURES:
            return data
        from lesionseg import images  # here, since it loads NumPy and Pillow

        smaller = {"photos": images.shrink_photo_file, "masks": images.shrink_mask_file}
        try:
            return smaller[archive.kind](data, wish.shrink)
        except LesionsegError as error:
            reason = str(error).removeprefix("standard input: ")
            raise LesionsegError(f"{archive.file}: {name}: {reason}") from error

    with _hiding(wish.final(archive)) as hidden:
        needed = _kept(wish, archive, unpacked_bytes(source))
        _require(wish, needed, f"unpacking {archive.file}")
        unpack(source, hidden, change, wish.at("unpack", archive))
        _check_count(wish, archive, hidden)
        hidden.replace(wish.final(archive))


def _hidden(final: Path) -> Path:
    return final.with_name(f".{final.name}.part")


@contextmanager
def _hiding(final: Path) -> Iterator[Path]:
    """An empty hidden folder beside `final`; what is left of it when the block ends is removed."""
    hidden = _hidden(final)
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
