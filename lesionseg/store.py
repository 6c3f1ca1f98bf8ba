"""Where things are kept: the cache folder, the data sets, the runs.

    <cache>/data/<name>/         a downloaded or drawn data set
    <cache>/prepared/<hash>/     photos and masks at the network's size, made again when lost
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
BUNDLED = "bundled"  # the name of the weights that come with the package
BUNDLED_FILE = Path(__file__).parent / "weights" / "accurate.pt"


def cache_dir() -> Path:
    """The cache folder, absolute; it need not exist yet."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return path(named).absolute()
    return platformdirs.user_cache_path("lesionseg", appauthor=False)


def path(named: str | Path) -> Path:
    """A path as it was typed; `~` is the user's home where there is one."""
    return Path(os.path.expanduser(named))  # noqa: PTH111 (Path.expanduser raises without a home)


def data_dir(name: str) -> Path:
    """The folder of the downloaded data set `name`."""
    return cache_dir() / "data" / name


def runs_dir() -> Path:
    """The folder that holds one folder for each run."""
    return cache_dir() / "runs"


def prepared_dir() -> Path:
    """The folder of the arrays prepared for training; safe to delete."""
    return cache_dir() / "prepared"


def new_run(name: str | None = None) -> Path:
    """The folder of a new run called `name`, else by date and time; not made yet.

    Raises:
        LesionsegError: the name is taken, or is a path.
    """
    name = name or f"{time.strftime('%Y-%m-%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    if Path(name).name != name or name in (".", ".."):
        raise LesionsegError(f"expected a run's name, got {name!r}; for a folder use --output")
    return unused_run(runs_dir() / name)


def unused_run(folder: Path) -> Path:
    """`folder`, where no run has written yet.

    Raises:
        LesionsegError: there is a run in it, or its name is taken.
    """
    if folder.name == BUNDLED:
        raise LesionsegError(f"{BUNDLED!r} names the weights of this package; choose another name")
    if any((folder / file).exists() for file in (BEST, LAST)):
        raise LesionsegError(
            f"{folder} holds a run already; go on with it by --resume, or choose another name"
        )
    return folder


def find_run(named: Path | str | None = None) -> Path:
    """The folder of the run to go on with: a folder, a run's name, or the latest run.

    Raises:
        CheckpointError: no such run, or it has no checkpoint to go on from.
    """
    if named is None:
        run = _latest(LAST)
        if run is None:
            raise CheckpointError(
                f"no run to resume: none under {runs_dir()}; train without --resume"
            )
        return run
    for run in (path(named), runs_dir() / named):
        if (run / LAST).is_file():
            return run
    raise CheckpointError(
        f"no run {str(named)!r} to resume: neither a run's folder nor a name under {runs_dir()}"
    )


def _latest(file: str) -> Path | None:
    """The run whose `file` is the newest; None where no run has one."""
    found = [run for run in runs_dir().glob("*") if (run / file).is_file()]
    return max(found, key=lambda run: (run / file).stat().st_mtime_ns, default=None)


def find_checkpoint(named: str | None = None) -> Path:
    """The checkpoint file that is meant.

    `named` is a file, a run's folder, the name of a run under `runs_dir()`, or "bundled"; left out,
    it is `LESIONSEG_CHECKPOINT`, else the best checkpoint of the latest run, else the bundled one.

    Raises:
        CheckpointError: nothing stands there.
    """
    variable = None if named else os.environ.get(CHECKPOINT_VARIABLE)
    named = named or variable
    if not named:
        run = _latest(BEST)
        return run / BEST if run else BUNDLED_FILE
    if named == BUNDLED:
        return BUNDLED_FILE
    for found in (path(named), runs_dir() / named):
        if found.is_file():
            return found
        if (found / BEST).is_file():
            return found / BEST
    runs = sorted(run.name for run in runs_dir().glob("*") if (run / BEST).is_file())
    known = f"the runs are: {', '.join(runs)}" if runs else "no run has been trained yet"
    known += f"; {BUNDLED!r} names the weights of this package"
    raise CheckpointError(
        f"no checkpoint {named!r}{f' (from ${CHECKPOINT_VARIABLE})' if variable else ''}: "
        f"neither a file, nor a run under {runs_dir()}; {known}"
    )
