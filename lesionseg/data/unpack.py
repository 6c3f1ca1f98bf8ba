"""Check a zip and unpack it into one folder: no path outside it, no link, no bomb, no name twice.

Folders inside the zip are flattened; superpixels and what macOS adds are left out.
"""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lesionseg.errors import DownloadError, amount
from lesionseg.threads import map_ahead

_WORKERS = min(4, os.cpu_count() or 1)
_MOST_RATIO = 20  # times its size that a zip may unpack to: photos and masks hardly compress
_MOST_FILE = 256 * 1024**2
_SKIPPED = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|\._)|_superpixels\.png$", re.IGNORECASE)


def unpacked_bytes(source: Path) -> int:
    """Return the bytes that the zip unpacks to. Raises as `unpack`."""
    with _opened(source) as (_, entries):
        return sum(entry.file_size for entry in entries.values())


def unpack(
    source: Path,
    folder: Path,
    change: Callable[[str, bytes], bytes],
    on_file: Callable[[int, int], None],
) -> None:
    """Write the files of the zip `source` into `folder`, each as `change(name, data)`, in threads.

    `on_file` is called at every file with those done and all.

    Raises:
        DownloadError: not a zip, damaged, encrypted or unsafe.
    """
    with _opened(source) as (archive, entries):

        def read() -> Iterator[tuple[str, bytes]]:
            for name, entry in entries.items():
                data = archive.read(entry)  # at most the size in the header; compares the CRC
                if len(data) != entry.file_size:
                    raise _refused(source, f"{name!r} is shorter than its header says")
                yield name, data

        def keep(item: tuple[str, bytes]) -> None:
            name, data = item
            (folder / name).write_bytes(change(name, data))

        for done, _ in enumerate(map_ahead(keep, read(), _WORKERS), 1):
            on_file(done, len(entries))


@contextmanager
def _opened(source: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive, _entries(archive, source)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _refused(source, "expected a zip file, got another one or a damaged one") from error
    except NotImplementedError as error:
        raise _refused(source, "it is packed in a way that is not supported") from error
    except RuntimeError as error:
        raise _refused(source, "it is encrypted") from error


def _entries(archive: zipfile.ZipFile, source: Path) -> dict[str, zipfile.ZipInfo]:
    """List the files to unpack, by name."""
    entries: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    total = 0
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename:
            raise _refused(source, f"{entry.filename!r} would land outside its folder")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(source, f"{entry.filename!r} is a link or a device")
        name = path.name
        if not name or entry.is_dir() or _SKIPPED.search(path.as_posix()):
            continue
        if name.lower() in taken:
            raise _refused(source, f"it holds {name!r} twice")
        total += entry.file_size
        if entry.file_size > _MOST_FILE or total > _MOST_RATIO * source.stat().st_size:
            raise _refused(source, f"it unpacks to {amount(total)} by {name!r}: a zip bomb")
        taken.add(name.lower())
        entries[name] = entry
    return entries


def _refused(path: Path, reason: str) -> DownloadError:
    return DownloadError(f"{path} was not unpacked: {reason}; delete it and get it elsewhere")
