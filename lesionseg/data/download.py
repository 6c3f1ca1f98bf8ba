"""Download a public data set: what is wanted, what is here, in which order. It can be resumed.

A zip is downloaded to `<set folder>/<zip>.part`, checked, and unpacked to a hidden folder beside
its own, `<set folder>/<zip stem>/`, which takes that name only when it is complete. `dataset.json`
lists a split once its photos and masks are complete.
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
from lesionseg.errors import DownloadError, LesionsegError, amount, one_line

_CHUNK = 1024**2
_IMAGES = frozenset({".jpg", ".jpeg", ".png"})
_UNFINISHED = re.compile(  # what an interrupted generation leaves
    r"DEMO_(Training|Validation|Test)_(Input|GroundTruth)|\.demo\.part|\.dataset\.json\.\w+\.part"
)


@dataclass(frozen=True)
class Progress:
    """The state of a download: bytes for "fetch" and "verify", files for "unpack", "generate"."""

    step: str
    file: str
    done: int
    total: int


@dataclass(frozen=True)
class Listed:
    """A data set of the catalog, and what of it is here (None: nothing)."""

    dataset: DataSet
    here: Description | None


def listing() -> list[Listed]:
    """List all data sets of the catalog, with what is in the cache folder of archive."""
    rows = []
    for dataset in DATASETS.values():
        here = None
        with suppress(LesionsegError):  # a damaged folder must not hide the others
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
    """Download `dataset` to `folder`; what is complete there already is not fetched again.

    Args:
        splits: which of the set's splits; None for all.
        bases: addresses tried in turn; a file lies at `<base>/<year>/<file>`.
        archives: a folder of zips that were downloaded already: used in place, never deleted.
        shrink: the longest that a photo's shorter side may be, in pixels; None for full size.
        on_progress: called often, at every chunk or file.
        note: called with one line about a retry or another decision worth knowing.

    A synthetic set is generated as a whole, without `splits`, `bases`, `archives` and `shrink`.
    Returns the description of the folder, as written to its `dataset.json`.

    Raises:
        DownloadError: network, checksum, disk, or an unsafe archive.
        LesionsegError: an argument out of range, or the folder holds something else.
    """
    if dataset.synthetic and (splits, tuple(bases), archives, shrink) != (None, BASES, None, None):
        raise LesionsegError(
            f"{dataset.name} is always generated in full; leave out --split, --shrink, --mirror "
            "and --archives"
        )
    wanted = tuple(dataset.photos) if splits is None else tuple(dict.fromkeys(splits))
    unknown = [split for split in wanted if split not in dataset.photos]
    if unknown or not wanted:
        got = f"split {unknown[0]!r}" if unknown else "no split"
        raise LesionsegError(f"{dataset.name}: {got}; its splits are {', '.join(dataset.photos)}")
    if shrink is not None and shrink < 1:
        raise LesionsegError(f"--shrink: expected at least 1 pixel, got {shrink}")
    if archives is not None and not archives.is_dir():
        raise LesionsegError(
            f"{archives} is not a folder: name the folder that holds the zip files"
        )
    for base in bases:
        if not base.startswith(("http://", "https://")):
            raise LesionsegError(f"expected an address http://... or https://..., got {base!r}")
    report, log = on_progress or (lambda _: None), note or (lambda _: None)
    try:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with files.exclusive_lock(folder):
            if dataset.synthetic:
                return _generate(dataset, folder, report)
            request = _Request(
                dataset, folder, tuple(bases), archives, shrink, report, log, patience
            )
            return _download(request, wanted)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"the disk of {folder} is full; free some space and run the same command again "
                "to resume"
            ) from error
        path, reason = error.filename or folder, error.strerror or one_line(error)
        advice = store.cache_advice(folder) or "; name another folder"
        raise DownloadError(f"cannot use {path}: {reason}{advice}") from error


def _generate(dataset: DataSet, folder: Path, report: Callable[[Progress], None]) -> Description:
    from lesionseg.data import synthetic  # here, since it loads NumPy and Pillow

    if description := _read_description(dataset, folder):
        return description
    others = {path.name for path in folder.iterdir() if not _UNFINISHED.fullmatch(path.name)}
    if others and not (others == {"LICENSE.txt"} and any(folder.glob("DEMO_*"))):
        raise LesionsegError(f"{folder} is not empty; delete it or name another folder")
    name, title, licence = dataset.name, dataset.title, dataset.licence
    description = Description(name, title, licence, synthetic=True, splits=dict(dataset.photos))
    with _hidden_folder(folder / name) as hidden:
        synthetic.generate_set(
            hidden, lambda done, total: report(Progress("generate", name, done, total))
        )
        for path in sorted(hidden.iterdir()):  # LICENSE.txt after the folders
            if (final := folder / path.name).is_dir():
                shutil.rmtree(final)
            path.replace(final)
    catalog.write_description(folder, description)
    return description


def _read_description(dataset: DataSet, folder: Path) -> Description | None:
    description = catalog.read_description(folder)
    if description and description.name != dataset.name:
        raise LesionsegError(
            f"{folder} holds the data set {description.name}, not {dataset.name}; "
            "name another folder"
        )
    return description


@dataclass(frozen=True)
class _Request:
    """The arguments of `download`, and the paths of its archives."""

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

    def progress(self, step: str, archive: Archive) -> Callable[[int, int], None]:
        return lambda done, total: self.report(Progress(step, archive.file, done, total))


def _download(request: _Request, wanted: Sequence[str]) -> Description:
    dataset = request.dataset
    for archive in dataset.archives:  # what was killed while unpacking may fill the disk
        shutil.rmtree(_hidden_path(request.final(archive)), ignore_errors=True)
    description = _start(request)
    missing = [
        archive for archive in dataset.of_splits(wanted) if not request.final(archive).exists()
    ]
    if request.archives and missing and not any(request.local(archive) for archive in missing):
        raise DownloadError(
            f"{request.archives}: expected the zip files, such as {missing[0].file}, found none; "
            "name their folder, or leave out --archives to fetch them"
        )
    _require(request, _forecast(request, dataset.of_splits(wanted)), dataset.name)
    for split in wanted:
        for archive in dataset.of_splits([split]):
            if request.final(archive).exists():  # it got its name when it was complete
                _check_count(request, archive, request.final(archive))
            else:
                _unpack(request, archive, _obtain_zip(request, archive))
            request.part(archive).unlink(missing_ok=True)
        splits = {**description.splits, split: dataset.photos[split]}
        description = replace(description, splits=splits)
        catalog.write_description(request.folder, description)
    return description


def _start(request: _Request) -> Description:
    """Read the description of the folder, or write it before anything is unpacked."""
    dataset = request.dataset
    description = _read_description(dataset, request.folder)
    present = [archive.folder for archive in dataset.archives if request.final(archive).exists()]
    if not present:
        description = Description(
            dataset.name, dataset.title, dataset.licence, shrunk=request.shrink
        )
        catalog.write_description(request.folder, description)
    elif not description:
        raise LesionsegError(
            f"{request.folder} has {present[0]} but no dataset.json, so it was not downloaded "
            "by lesionseg; use it as it is with --data, or name another folder"
        )
    elif description.shrunk != request.shrink:
        wanted = f"a shorter side of {request.shrink} px" if request.shrink else "full size"
        here = f"--shrink {description.shrunk}" if description.shrunk else "no --shrink"
        raise LesionsegError(
            f"{request.folder} was downloaded with {here}, but this command asks for {wanted}; "
            f"use {here} again, or delete the folder"
        )
    return description


def _forecast(request: _Request, archives: Sequence[Archive]) -> int:
    """Estimate the bytes that the disk must still take at its fullest moment."""
    missing = [archive for archive in archives if not request.final(archive).exists()]
    fetched = [archive for archive in missing if not request.local(archive)]
    zips = [archive.bytes - transfer.size(request.part(archive)) for archive in fetched]
    return max([0, *zips]) + sum(_kept(request, archive, archive.bytes) for archive in missing)


def _kept(request: _Request, archive: Archive, unpacked: int) -> int:
    """Estimate what is kept of `unpacked` bytes: a shrunk photo has under 1.5 bytes a pixel."""
    if request.shrink is None:
        return unpacked
    return min(unpacked, request.dataset.photos[archive.split] * request.shrink**2 * 3 // 2)


def _require(request: _Request, needed: int, what: str) -> None:
    free = shutil.disk_usage(request.folder).free
    if needed > free:
        smaller = "" if request.shrink else ", or keep smaller photos with --shrink 512"
        raise DownloadError(
            f"not enough space in {request.folder}: {what} needs {amount(needed)}, {amount(free)} "
            f"is free; free some space or name another folder{smaller}"
        )


def _check_count(request: _Request, archive: Archive, folder: Path) -> None:
    expected = request.dataset.photos[archive.split]
    got = sum(path.suffix.lower() in _IMAGES for path in folder.iterdir())
    if got != expected:
        raise DownloadError(
            f"{folder}: expected {expected} {archive.kind}, got {got}; delete it and "
            "run the same command again"
        )


def _obtain_zip(request: _Request, archive: Archive) -> Path:
    """Fetch or find the zip file and verify its checksum."""
    if local := request.local(archive):
        got = _checksum(request, archive, local)
        if got != archive.checksum:
            raise DownloadError(
                f"{local}: expected {archive.algorithm} {archive.checksum}, got {got}; "
                "delete it, or leave out --archives to fetch it"
            )
        return local
    if request.archives:
        request.note(f"{archive.file} is not in {request.archives}: fetching it")
    path, part = f"{request.dataset.year}/{archive.file}", request.part(archive)
    callbacks = (request.progress("fetch", archive), request.note, request.patience)
    wanted = transfer.Transfer(path, part, archive.bytes, archive.exact, *callbacks)
    for bases in (request.bases, request.bases[1:] + request.bases[:1]):
        transfer.fetch(wanted, bases)
        got = _checksum(request, archive, part)
        if got == archive.checksum:
            return part
        part.unlink()
        request.note(f"{archive.file}: wrong checksum {got}, removed")
    raise DownloadError(
        f"{archive.file}: expected {archive.algorithm} {archive.checksum}, got {got} twice; "
        "try later, name a mirror with --mirror, or a folder with the zip with --archives"
    )


def _checksum(request: _Request, archive: Archive, path: Path) -> str:
    total, report = path.stat().st_size, request.progress("verify", archive)
    digest = hashlib.new(archive.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report(file.tell(), total)
    return digest.hexdigest()


def _unpack(request: _Request, archive: Archive, source: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if request.shrink is None or Path(name).suffix.lower() not in _IMAGES:
            return data
        # Here, since they load NumPy and Pillow.
        from lesionseg.images.masks import shrink_mask_file
        from lesionseg.images.photos import shrink_photo_file

        smaller = {"photos": shrink_photo_file, "masks": shrink_mask_file}
        try:
            return smaller[archive.kind](data, request.shrink)
        except LesionsegError as error:
            reason = str(error).removeprefix("standard input: ")
            raise DownloadError(f"{archive.file}: {name}: {reason}") from error

    with _hidden_folder(request.final(archive)) as hidden:
        needed = _kept(request, archive, unpacked_bytes(source))
        _require(request, needed, f"unpacking {archive.file}")
        unpack(source, hidden, change, request.progress("unpack", archive))
        _check_count(request, archive, hidden)
        hidden.replace(request.final(archive))


def _hidden_path(final: Path) -> Path:
    return final.with_name(f".{final.name}.part")


@contextmanager
def _hidden_folder(final: Path) -> Iterator[Path]:
    """Create a hidden folder beside `final`; remove what is left of it when the block ends."""
    hidden = _hidden_path(final)
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
