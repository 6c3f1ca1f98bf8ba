"""Fetch a public data set: resume, verify, unpack safely; killed at any point, it goes on.

A zip is fetched to `<set folder>/<zip>.part`, checked, and unpacked to a hidden folder beside its
own, `<set folder>/<zip stem>/`, which takes that name only when it is whole. `dataset.json` lists
a split once its photos and masks are.
"""

import errno
import hashlib
import http.client
import os
import re
import shutil
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lesionseg import store
from lesionseg.catalog import (
    BASES,
    DATASETS,
    Archive,
    DataSet,
    Description,
    read_description,
    write_description,
)
from lesionseg.errors import LesionsegError, one_line

if sys.platform != "win32":
    import fcntl

_CHUNK = 1024**2
_WORKERS = min(4, os.cpu_count() or 1)
_MOST_RATIO = 20  # times its size that a zip may unpack to: photos and masks hardly compress
_MOST_FILE = 256 * 1024**2
_SKIPPED = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|\._)|_superpixels\.png$", re.IGNORECASE)
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class Progress:
    """Where a download stands: bytes for "fetch" and "verify", files for "unpack" and "draw"."""

    step: str
    file: str
    done: int
    total: int


@dataclass(frozen=True)
class Patience:
    """Seconds without a byte until a transfer counts as stalled, and before each new try."""

    timeout: float = 30.0
    delays: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Listed:
    """A data set of the catalog, and what is here of it (None: nothing)."""

    dataset: DataSet
    here: Description | None


PATIENCE = Patience()


def listing() -> list[Listed]:
    """All data sets of the catalog, with what is in the cache folder of each."""
    rows = []
    for dataset in DATASETS.values():
        here = None
        with suppress(LesionsegError):  # one damaged folder must not hide the others
            here = read_description(store.data_dir(dataset.name))
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
    patience: Patience = PATIENCE,
) -> Description:
    """Bring `dataset` into `folder`; what is whole there already is not fetched again.

    Args:
        splits: which of the set's splits; None for all. A drawn set is always drawn whole.
        bases: addresses tried in turn; a file lies at `<base>/<year>/<file>`.
        archives: a folder of zips that are on disk already: used in place, never deleted.
        shrink: the longest that a photo's shorter side may be, in pixels; None for full size.
        on_progress: called often, at every chunk or file.
        note: called with one line about a retry or another choice worth knowing.

    Returns the description of the folder, as written to its `dataset.json`.

    Raises:
        LesionsegError: network, checksum, disk, an unsafe archive, or an argument.
    """
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
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if dataset.drawn:
                return _draw(dataset, folder, report)
            job = _Job(dataset, folder, tuple(bases), archives, shrink, report, tell, patience)
            return job.run(wanted)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LesionsegError(
                f"the disk of {folder} is full; free some space and run the same command again: "
                "it goes on where it stopped"
            ) from error
        where, reason = error.filename or folder, error.strerror or one_line(error)
        raise LesionsegError(f"cannot use {where}: {reason}; name another folder") from error


def _draw(dataset: DataSet, folder: Path, report: Callable[[Progress], None]) -> Description:
    from lesionseg import phantoms  # here, since it loads NumPy and Pillow

    found = _described(dataset, folder)
    if found:
        return found
    if any(folder.iterdir()):
        raise LesionsegError(f"{folder} is not empty; delete it or name another folder")
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    phantoms.draw_set(temporary, lambda done, of: report(Progress("draw", dataset.name, done, of)))
    drawn = Description(
        dataset.name, dataset.title, dataset.licence, drawn=True, splits=dict(dataset.photos)
    )
    write_description(temporary, drawn)
    folder.rmdir()  # Windows replaces no folder, not even an empty one
    temporary.replace(folder)
    return drawn


def _described(dataset: DataSet, folder: Path) -> Description | None:
    found = read_description(folder)
    if found and found.name != dataset.name:
        raise LesionsegError(
            f"{folder} holds the data set {found.name}, not {dataset.name}; name another folder"
        )
    return found


class _BrokenError(Exception):
    """A transfer that failed; `final` where the same address will not do better."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True)
class _Job:
    dataset: DataSet
    folder: Path
    bases: tuple[str, ...]
    archives: Path | None
    shrink: int | None
    report: Callable[[Progress], None]
    note: Callable[[str], None]
    patience: Patience

    def run(self, wanted: Sequence[str]) -> Description:
        description = self._start()
        self._require(self._forecast(self.dataset.of_splits(wanted)), self.dataset.name)
        for split in wanted:
            for archive in self.dataset.of_splits([split]):
                part = self._part(archive)
                if not self._whole(archive):
                    self._unpack(archive, self._obtain(archive, part))
                part.unlink(missing_ok=True)
            photos = self.dataset.photos[split]
            description = replace(description, splits={**description.splits, split: photos})
            write_description(self.folder, description)
        return description

    def _start(self) -> Description:
        """The description of the folder, written before anything is unpacked."""
        found = _described(self.dataset, self.folder)
        present = [each.folder for each in self.dataset.archives if self._final(each).exists()]
        if not present:
            title, licence = self.dataset.title, self.dataset.licence
            found = Description(self.dataset.name, title, licence, shrunk=self.shrink)
            write_description(self.folder, found)
        elif not found:
            raise LesionsegError(
                f"{self.folder} has {present[0]} but no dataset.json, so it was not downloaded "
                "by lesionseg; use it as it is with --data, or name another folder"
            )
        elif found.shrunk != self.shrink:
            asked = f"a shorter side of {self.shrink} px" if self.shrink else "full size"
            here = f"--shrink {found.shrunk}" if found.shrunk else "no --shrink"
            raise LesionsegError(
                f"{self.folder} was downloaded with {here}, now {asked} is asked for; "
                f"use {here} again, or delete the folder"
            )
        return found

    def _final(self, archive: Archive) -> Path:
        return self.folder / archive.folder

    def _part(self, archive: Archive) -> Path:
        return self.folder / f"{archive.file}.part"

    def _whole(self, archive: Archive) -> bool:
        """Whether it is unpacked; the folder got its name when it was whole."""
        final = self._final(archive)
        if final.exists():
            self._check_count(archive, final)
        return final.exists()

    def _check_count(self, archive: Archive, folder: Path) -> None:
        expected = self.dataset.photos[archive.split]
        got = sum(path.suffix.lower() in _PICTURES for path in folder.iterdir())
        if got != expected:
            raise LesionsegError(
                f"{folder}: expected {expected} {archive.kind}, got {got}; delete it and "
                "run the same command again"
            )

    def _forecast(self, archives: Sequence[Archive]) -> int:
        """The bytes that the disk must still take at the fullest moment."""
        missing = [each for each in archives if not self._final(each).exists()]
        fetched = [each for each in missing if not self._local(each)]
        zips = [max(0, each.bytes - _size(self._part(each))) for each in fetched]
        unpacked = sum(self._kept(each, each.bytes) for each in missing)
        return max(zips, default=0) + unpacked

    def _kept(self, archive: Archive, unpacked: int) -> int:
        """What is kept of `unpacked` bytes, about: a shrunk photo has under 1.5 bytes a pixel."""
        if self.shrink is None:
            return unpacked
        pixels = self.dataset.photos[archive.split] * self.shrink**2
        return min(unpacked, pixels * 3 // 2)

    def _require(self, needed: int, what: str) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            smaller = "" if self.shrink else ", or keep smaller photos with --shrink 512"
            raise LesionsegError(
                f"not enough space in {self.folder}: {what} needs {_bytes(needed)}, "
                f"{_bytes(free)} are free; free some or name another folder{smaller}"
            )

    def _local(self, archive: Archive) -> Path | None:
        path = self.archives / archive.file if self.archives else None
        return path if path and path.is_file() else None

    def _obtain(self, archive: Archive, part: Path) -> Path:
        """The zip file, its checksum verified."""
        local = self._local(archive)
        if local:
            got = self._hash(archive, local)
            if got != archive.checksum:
                raise LesionsegError(
                    f"{local}: expected {archive.algorithm} {archive.checksum}, got {got}; "
                    "delete it, or leave out --archives to fetch it"
                )
            return local
        if self.archives:
            self.note(f"{archive.file} is not in {self.archives}: fetching it")
        for bases in (self.bases, self.bases[1:] + self.bases[:1]):
            self._fetch(archive, part, bases)
            got = self._hash(archive, part)
            if got == archive.checksum:
                return part
            part.unlink()
            self.note(f"{archive.file}: wrong checksum {got}, removed")
        raise LesionsegError(
            f"{archive.file}: expected {archive.algorithm} {archive.checksum}, got {got} twice; "
            "try later, name a mirror with --mirror, or a folder with the zip with --archives"
        )

    def _hash(self, archive: Archive, path: Path) -> str:
        total, done = path.stat().st_size, 0
        digest = hashlib.new(archive.algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                self.report(Progress("verify", archive.file, done, total))
        return digest.hexdigest()

    def _fetch(self, archive: Archive, part: Path, bases: Sequence[str]) -> None:
        reasons = []
        for base in bases:
            furthest, delays = _size(part), iter(self.patience.delays)
            while True:
                try:
                    url = f"{base.rstrip('/')}/{self.dataset.year}/{archive.file}"
                    return self._transfer(url, archive, part)
                except _BrokenError as error:
                    if _size(part) > furthest:  # a long file may break off often and still arrive
                        furthest, delays = _size(part), iter(self.patience.delays)
                    delay = None if error.final else next(delays, None)
                    if delay is None:
                        reasons.append(f"{base}: {error}")
                        self.note(f"{archive.file}: {reasons[-1]}")
                        break
                    self.note(f"{archive.file}: {error}; trying again in {delay:g} s")
                    time.sleep(delay)
        raise LesionsegError(
            f"cannot fetch {archive.file} from {'; '.join(reasons)}; "
            f"{_bytes(_size(part))} are kept: run the same command again to go on, name a mirror "
            "with --mirror, or a folder with the zip with --archives"
        )

    def _transfer(self, url: str, archive: Archive, part: Path) -> None:
        """Bring `part` to its full length, going on where it stands.

        No `If-Range`: the two bases tag the same file differently, and the checksum decides.
        """
        most = archive.bytes if archive.exact else 2 * archive.bytes
        least = archive.bytes if archive.exact else 0
        have = _size(part)
        if have > most:
            part.unlink()
            have = 0
        if have == least > 0:
            return
        headers = {"User-Agent": "lesionseg", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            request = urllib.request.Request(url, headers=headers)
            response = urllib.request.urlopen(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                if not least and error.headers["Content-Range"] == f"bytes */{have}":
                    return
                part.unlink(missing_ok=True)
                raise _BrokenError("cannot go on where it stopped, starting again") from error
            final = error.code < 500 and error.code not in (408, 425, 429)
            raise _BrokenError(f"{error.code} {error.reason}", final) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _BrokenError(one_line(getattr(error, "reason", None) or error)) from error
        with response:
            if response.status != 206:
                have = 0
            elif f"{response.headers['Content-Range']}".split("-")[0] != f"bytes {have}":
                part.unlink(missing_ok=True)
                raise _BrokenError("sent another part than asked for, starting again")
            offered = None if response.length is None else have + response.length
            if offered is not None and not least <= offered <= most:
                raise _BrokenError(
                    f"expected {archive.bytes} bytes, it offers {offered}", final=True
                )
            with part.open("ab" if have else "wb") as out:
                while have < most:
                    try:
                        chunk = response.read1(min(_CHUNK, most - have))
                    except (OSError, http.client.HTTPException) as error:
                        raise _BrokenError(one_line(error)) from error
                    if not chunk:
                        break
                    out.write(chunk)
                    have += len(chunk)
                    self.report(Progress("fetch", archive.file, have, offered or archive.bytes))
            if have < (offered or least):
                raise _BrokenError(f"broke off after {have} of {offered or least} bytes")

    def _unpack(self, archive: Archive, source: Path) -> None:
        temporary = self.folder / f".{archive.folder}.part"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            with zipfile.ZipFile(source) as opened, ThreadPoolExecutor(_WORKERS) as pool:
                entries = _entries(opened, source)
                size = sum(entry.file_size for entry in entries.values())
                self._require(self._kept(archive, size), f"unpacking {archive.file}")
                waiting: deque[Future[None]] = deque()
                for done, (name, entry) in enumerate(entries.items(), 1):
                    data = opened.read(entry)  # at most the size in the header; compares the CRC
                    if len(data) != entry.file_size:
                        raise _refused(source, f"{name!r} is shorter than its header says")
                    waiting.append(pool.submit(self._keep, archive, data, temporary / name))
                    if len(waiting) > 2 * _WORKERS:  # what bounds the memory
                        waiting.popleft().result()
                    self.report(Progress("unpack", archive.file, done, len(entries)))
                for task in waiting:
                    task.result()
            self._check_count(archive, temporary)
            temporary.replace(self._final(archive))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise _refused(source, one_line(error)) from error  # Runtime: encrypted, odd methods
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _keep(self, archive: Archive, data: bytes, path: Path) -> None:
        if self.shrink is not None and path.suffix.lower() in _PICTURES:
            from lesionseg import images  # here, since it loads NumPy and Pillow

            smaller = {"photos": images.shrink_photo_file, "masks": images.shrink_mask_file}
            try:
                data = smaller[archive.kind](data, self.shrink)
            except LesionsegError as error:
                reason = str(error).removeprefix("standard input: ")
                raise LesionsegError(f"{archive.file}: {path.name}: {reason}") from error
        path.write_bytes(data)


def _entries(opened: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files worth keeping by name; the folders inside the archive are left out."""
    kept: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    total = 0
    for entry in opened.infolist():
        where = PurePosixPath(entry.filename.replace("\\", "/"))
        if where.is_absolute() or ".." in where.parts or ":" in entry.filename:
            raise _refused(path, f"{entry.filename!r} would land outside its folder")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(path, f"{entry.filename!r} is a link or a device")
        name = where.name
        if not name or entry.is_dir() or _SKIPPED.search(where.as_posix()):
            continue
        if name.lower() in taken:
            raise _refused(path, f"{name!r} stands in it twice")
        total += entry.file_size
        if entry.file_size > _MOST_FILE or total > _MOST_RATIO * path.stat().st_size:
            raise _refused(path, f"at {name!r} it grows to {_bytes(total)}: a zip bomb")
        taken.add(name.lower())
        kept[name] = entry
    return kept


def _refused(path: Path, reason: str) -> LesionsegError:
    return LesionsegError(f"{path} is not unpacked: {reason}; delete it and get it elsewhere")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second download into the same folder; the lock ends with the process.

    Not on Windows, where a folder cannot be locked so.
    """
    handle = None
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise LesionsegError(
                f"another process is downloading into {folder}; wait until it ends"
            ) from error
        except OSError:
            pass  # a network drive without locks
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
