"""Where data sets, cached photos, runs and checkpoints are.

    <cache>/data/<name>/         a downloaded or synthetic data set
    <cache>/prepared/<hash>/     photos and masks at the network's size, safe to delete
    <cache>/runs/<run>/          best.pt, last.pt, history.jsonl

`<cache>` is `LESIONSEG_CACHE_DIR` or the user's cache directory of the operating system.
"""

import os
import time
import uuid
from pathlib import Path

import platformdirs

from lesionseg.errors import CheckpointError, LesionsegError

CACHE_VARIABLE = "LESIONSEG_CACHE_DIR"
CHECKPOINT_VARIABLE = "LESIONSEG_CHECKPOINT"
BEST, LAST, HISTORY = "best.pt", "last.pt", "history.jsonl"
BUNDLED = "bundled"  # the weights that come with the package
BUNDLED_FILE = Path(__file__).parent / "weights" / "accurate.pt"


def cache_dir() -> Path:
    """Return the cache folder, absolute; it need not exist yet."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return path(folder).absolute()
    return platformdirs.user_cache_path("lesionseg", appauthor=False)


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
    if folder.name == BUNDLED:
        raise LesionsegError(f"{BUNDLED!r} names the weights of this package; choose another name")
    if any((folder / file).exists() for file in (BEST, LAST)):
        raise LesionsegError(
            f"{folder} holds a run already; continue it with --resume, or choose another name"
        )
    return folder


def find_run(name: Path | str | None = None) -> Path:
    """Find the run to resume, from its folder or name; without one, the latest run.

    Raises:
        CheckpointError: no such run, or it has no checkpoint to resume from.
    """
    if name is None:
        run = _latest(LAST)
        if run is None:
            raise CheckpointError(
                f"no run to resume: none under {runs_dir()}; train without --resume"
            )
        return run
    for run in (path(name), runs_dir() / name):
        if (run / LAST).is_file():
            return run
    raise CheckpointError(
        f"no run {str(name)!r} to resume: neither a run's folder nor a name under {runs_dir()}"
    )


def _latest(file: str) -> Path | None:
    """Return the run whose `file` is the newest; None where no run has one."""
    runs = [run for run in runs_dir().glob("*") if (run / file).is_file()]
    return max(runs, key=lambda run: (run / file).stat().st_mtime_ns, default=None)


def find_checkpoint(name: str | None = None) -> Path:
    """Find a checkpoint file.

    `name` is a file, a run's folder, the name of a run under `runs_dir()`, or "bundled"; left out,
    it is `LESIONSEG_CHECKPOINT`, else the best checkpoint of the latest run, else the bundled one.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    variable = None if name else os.environ.get(CHECKPOINT_VARIABLE)
    name = name or variable
    if not name:
        run = _latest(BEST)
        return run / BEST if run else BUNDLED_FILE
    if name == BUNDLED:
        return BUNDLED_FILE
    for place in (path(name), runs_dir() / name):
        if place.is_file():
            return place
        if (place / BEST).is_file():
            return place / BEST
    runs = sorted(run.name for run in runs_dir().glob("*") if (run / BEST).is_file())
    known = f"the runs are: {', '.join(runs)}" if runs else "no run has been trained yet"
    known += f"; {BUNDLED!r} names the weights of this package"
    raise CheckpointError(
        f"no checkpoint {name!r}{f' (from ${CHECKPOINT_VARIABLE})' if variable else ''}: "
        f"neither a file, nor a run under {runs_dir()}; {known}"
    )
