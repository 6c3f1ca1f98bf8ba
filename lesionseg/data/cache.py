"""A cache of photos and masks at the network's size: read once, memory-mapped from then on."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionseg import store
from lesionseg.data.pairs import Pair, read_pair
from lesionseg.errors import LesionsegError, counted
from lesionseg.images.arrays import Photo
from lesionseg.threads import map_ahead

_VERSION = 1  # of the arrays; raise it when the same photos would give other ones


@dataclass(frozen=True)
class CachedPairs:
    """Pairs at the network's size, sorted by id.

    Attributes:
        photos: (N, size, size, 3) uint8.
        masks: (N, size, size) uint8, 0 or 1; `pairs.UNKNOWN` for photos without one.
        ids: of the N photos.
        problems: one line for each pair that was left out.
        fingerprint: SHA-256 of ids, photos and masks, in hexadecimal.
    """

    photos: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    ids: tuple[str, ...]
    problems: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)


def cache_pairs(
    pairs: Sequence[Pair],
    size: int,
    workers: int = 1,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> CachedPairs:
    """Read the pairs once, in `workers` threads, and keep their arrays in the cache folder.

    Later calls only map the arrays, unless a file was changed or replaced, or a pair could not be
    read. Two processes may do this at once: each builds its own folder, one stays.

    Raises:
        LesionsegError: no pair can be read, or the disk is full.
    """
    paths = [path for pair in pairs for path in (pair.photo, pair.mask)]
    key = _hash([_VERSION, size, *(path.absolute() for path in paths)])
    choices = {pair.labels.categories for pair in pairs if pair.labels}
    choices |= {pair.colours for pair in pairs}
    chosen = sorted(sorted(names) for names in choices if names)
    stamp = _hash([*(_stamp(path) for path in paths), *chosen])
    folder = store.pair_cache_dir() / key[:16]
    cached = _open(folder, stamp)
    if cached is not None and not cached.problems:
        return cached
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.mkdir(parents=True)
        _build(pairs, size, workers, temporary, stamp, on_photo)
        cached = _open(folder, stamp)
        if cached is None or cached.problems:
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    except OSError as error:
        if _open(folder, stamp) is None:  # else another process was first
            raise LesionsegError(
                f"cannot cache the photos in {folder.parent}: {error.strerror or error}; "
                f"free some space there or set {store.CACHE_VARIABLE}"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if (cached := _open(folder, stamp)) is None:
        raise LesionsegError(f"{folder}: the cached photos vanished; run the command again")
    return cached


def _open(folder: Path, stamp: str) -> CachedPairs | None:
    """Map the arrays in `folder`; return None where they are missing, incomplete or outdated."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if index["stamp"] != stamp:
            return None
        ids, size = tuple(index["ids"]), index["size"]
        return CachedPairs(
            np.memmap(folder / "photos", np.uint8, "r", shape=(len(ids), size, size, 3)),
            np.memmap(folder / "masks", np.uint8, "r", shape=(len(ids), size, size)),
            ids,
            tuple(index["problems"]),
            index["fingerprint"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(
    pairs: Sequence[Pair],
    size: int,
    workers: int,
    folder: Path,
    stamp: str,
    on_photo: Callable[[int, int], None],
) -> None:
    """Write the bytes of the arrays to `photos` and `masks`, then index.json.

    Not through a memory map, which would kill the process on a full disk.
    """

    def read(pair: Pair) -> tuple[Photo, NDArray[np.bool_] | NDArray[np.uint8]] | str:
        try:
            return read_pair(pair, size)
        except LesionsegError as error:
            return str(error)

    ids: list[str] = []
    problems: list[str] = []
    digest = hashlib.sha256()
    with (folder / "photos").open("wb") as photos, (folder / "masks").open("wb") as masks:
        for pair, result in zip(pairs, map_ahead(read, pairs, workers), strict=True):
            if isinstance(result, str):
                problems.append(result)
            else:
                photo, mask = (array.tobytes() for array in result)
                photos.write(photo)
                masks.write(mask)
                digest.update(pair.id.encode(errors="surrogateescape") + photo + mask)
                ids.append(pair.id)
            on_photo(len(ids) + len(problems), len(pairs))
    if not ids:
        raise LesionsegError(
            f"none of {counted(len(pairs), 'pair')} can be used; the first error: {problems[0]}"
        )
    index = {
        "stamp": stamp,
        "size": size,
        "ids": ids,
        "problems": problems,
        "fingerprint": digest.hexdigest(),
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _stamp(path: Path) -> str:
    """Return what changes when a file does: unzip, rsync -a and cp -p keep its size and time.

    They cannot keep the time of the last change of its entry, nor the inode of a new file. On
    Windows, which has neither, that is the time of creation.
    """
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()
