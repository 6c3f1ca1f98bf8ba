"""Where data sets, cached photos, runs and checkpoints are.

    <cache>/data/<name>/         a downloaded or synthetic data set
    <cache>/prepared/<hash>/     photos and masks at the network's size, safe to delete
    <cache>/runs/<run>/          best.pt, last.pt, history.jsonl

`<cache>` is `LESIONSEG_CACHE_DIR` or the user's cache directory of the operating system.
"""

import io
import itertools
import os
import pickle
import shlex
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from lesionseg.errors import CheckpointError, LesionsegError

CACHE_VARIABLE = "LESIONSEG_CACHE_DIR"
CHECKPOINT_VARIABLE = "LESIONSEG_CHECKPOINT"
BEST, LAST, HISTORY = "best.pt", "last.pt", "history.jsonl"
_LARGEST_DESCRIPTION = 64 * 1024**2  # bytes; that of 100,000 photos takes some 3 MB
_WEIGHTS = Path(__file__).parent / "weights"
BUNDLED = "bundled"  # the default among the weights that come with the package
BUNDLED_FILES = {BUNDLED: _WEIGHTS / "accurate.pt", "bundled-small": _WEIGHTS / "small.pt"}
BUNDLED_FILE = BUNDLED_FILES[BUNDLED]


def cache_dir() -> Path:
    """Return the cache folder, absolute; it need not exist yet."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return path(folder).absolute()
    import platformdirs  # 7 ms, for nothing where the folder is named

    return platformdirs.user_cache_path("lesionseg", appauthor=False)


def cache_advice(place: str | Path) -> str:
    """Say how to move the cache folder if that is where a place lies; "" elsewhere."""
    with suppress(OSError):  # the current folder was removed
        if Path(place).absolute().is_relative_to(cache_dir()):
            return f"; to move the cache folder, set ${CACHE_VARIABLE} or give --cache-dir"
    return ""


def path(text: str | Path) -> Path:
    """Return a path as typed by the user; `~` is their home where there is one."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path.expanduser raises without a home)


def data_dir(name: str) -> Path:
    """Return the folder of the downloaded data set `name`."""
    return cache_dir() / "data" / name


def runs_dir() -> Path:
    """Return the folder that holds one folder for each run."""
    return cache_dir() / "runs"


def pair_cache_dir() -> Path:
    """Return the folder of cached photos and masks; safe to delete."""
    return cache_dir() / "prepared"


def new_run(name: str | None = None) -> Path:
    """Return the folder of a new run called `name`, else by date and time; it is not created.

    Raises:
        LesionsegError: the name is taken, or is a path.
    """
    name = name or f"{time.strftime('%Y-%m-%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    if Path(name).name != name or name in (".", ".."):
        raise LesionsegError(f"expected a run's name, got {name!r}; for a folder use --output")
    return unused_run(runs_dir() / name)


def unused_run(folder: Path) -> Path:
    """Return `folder` after a check that no run has written to it.

    Raises:
        LesionsegError: it holds a run, or its name is taken.
    """
    if folder.name in BUNDLED_FILES:
        raise LesionsegError(
            f"{folder.name!r} is the name of the weights in this package; choose another name"
        )
    if (folder / LAST).exists():
        raise LesionsegError(
            f"{folder} already holds a run; resume it with --resume, or choose another name"
        )
    if (folder / BEST).exists():
        raise LesionsegError(_without_last(folder))
    return folder


def _without_last(run: Path) -> str:
    """Say that a run ended after its first best.pt was written and before last.pt was."""
    return (
        f"{run} holds {BEST}, but no {LAST}: its run cannot be resumed; choose another name, with "
        f"--from {shlex.quote(str(run / BEST))} to start from these weights"
    )


def with_damaged_last(run: Path) -> str:
    """Say that a run's last.pt can be read, but what a resumed run needs of it cannot."""
    return (
        f"{run / LAST}: the state of its training is damaged, so that it cannot be resumed; start "
        f"a new run, with --from {shlex.quote(str(run / BEST))} to start from its weights"
    )


def find_run(name: Path | str | None = None) -> Path:
    """Find the run to resume, from its folder or name; without one, the latest run.

    Raises:
        CheckpointError: no such run, or it has no checkpoint to resume from.
    """
    if name is None:
        run = next(iter(_by_age(LAST)), None)
        if run is None:
            raise CheckpointError(f"no run to resume under {runs_dir()}; train without --resume")
        return run
    for run in (path(name), runs_dir() / name):
        if (run / LAST).is_file():
            return run
        if (run / BEST).is_file():
            raise CheckpointError(_without_last(run))
    raise CheckpointError(
        f"no run {str(name)!r} to resume: neither a run's folder nor a name under {runs_dir()}"
    )


def _by_age(file: str) -> list[Path]:
    """Return the runs that have such a file, that with the newest one first."""
    runs = [run for run in runs_dir().glob("*") if (run / file).is_file()]
    return sorted(runs, key=lambda run: (run / file).stat().st_mtime_ns, reverse=True)


def is_synthetic(checkpoint: Path) -> bool:
    """Tell whether a network was trained on synthetic images; False where the file cannot say.

    Only the description in the file is read, without torch: every class in it becomes a plain
    container, so that no code runs.
    """
    import zipfile

    try:
        with zipfile.ZipFile(checkpoint) as archive:
            (info,) = (info for info in archive.infolist() if info.filename.endswith("/data.pkl"))
            if info.file_size > _LARGEST_DESCRIPTION:
                return False
            content = _Plain(io.BytesIO(archive.read(info))).load()
        data = content["data"]
        return bool(data.get("synthetic", data.get("drawn", False)))  # its name in 0.1.0
    except Exception:  # a damaged file may raise anything, and is refused when it is loaded
        return False


class _Anything(dict[Any, Any]):
    """A value of any class in a checkpoint, which is not looked at."""

    def __init__(self, *_: object) -> None:
        super().__init__()


class _Plain(pickle.Unpickler):
    """Read plain values and pass over all others."""

    def find_class(self, module: str, name: str) -> type[_Anything]:
        """Return the same class for every name; nothing is imported."""
        return _Anything

    def persistent_load(self, pid: object) -> None:
        """Pass over the arrays."""


def runs_passed_over() -> list[str]:
    """Return the names of the runs newer than the default, all trained on synthetic images.

    The first is the latest run of all. Without a default, where `LESIONSEG_CHECKPOINT` names the
    checkpoint, there are none.
    """
    if os.environ.get(CHECKPOINT_VARIABLE):
        return []
    newer = itertools.takewhile(lambda run: is_synthetic(run / BEST), _by_age(BEST))
    return [run.name for run in newer]


def bundled_name(path: Path | None) -> str | None:
    """Return the name of the weights of this package that a file holds; None for any other."""
    return next((name for name, file in BUNDLED_FILES.items() if file == path), None)


def find_checkpoint(name: str | None = None) -> Path:
    """Find a checkpoint file.

    `name` is a file, a run's folder, the name of a run under `runs_dir()`, or one of
    `BUNDLED_FILES`; left out, it is `LESIONSEG_CHECKPOINT`, else the best checkpoint of the latest
    run that was not trained on synthetic images, else the bundled one.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    variable = None if name else os.environ.get(CHECKPOINT_VARIABLE)
    name = name or variable
    if not name:
        checkpoints = (run / BEST for run in _by_age(BEST))
        return next((path for path in checkpoints if not is_synthetic(path)), BUNDLED_FILE)
    if name in BUNDLED_FILES:
        return BUNDLED_FILES[name]
    for place in (path(name), runs_dir() / name):
        if place.is_file():
            return place
        if (place / BEST).is_file():
            return place / BEST
    runs = sorted(run.name for run in runs_dir().glob("*") if (run / BEST).is_file())
    known = f"the runs are: {', '.join(runs)}" if runs else "no run has been trained yet"
    known += f"; {' and '.join(map(repr, BUNDLED_FILES))} are the weights in this package"
    raise CheckpointError(
        f"no checkpoint {name!r}{f' (from ${CHECKPOINT_VARIABLE})' if variable else ''}: "
        f"neither a file, nor a run under {runs_dir()}; {known}"
    )
