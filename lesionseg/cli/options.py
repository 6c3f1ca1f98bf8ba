"""Options that several commands share, and what they mean; defaults come from the configuration."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionseg import distributed, store
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, MACHINE, NETWORK
from lesionseg.config import RECIPES

if TYPE_CHECKING:
    from lesionseg.segmentation.segmenter import Segmenter

_HOST = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
_CORES = max(1, len(_HOST) // distributed.local_world())  # for this process
WORKERS = min(8, _CORES)  # each may hold a photo at its full size


_INPUT: dict[str, Any] = {"rich_help_panel": INPUT}


def _keep_in(folder: Path | None) -> None:
    if folder is not None:
        os.environ[store.CACHE_VARIABLE] = str(folder)


def field(help: str, default: object, *names: str, **more: Any) -> Any:
    """Declare an option that is None when not given; `default` is what the help shows."""
    return option(f"{help} Default: {default}.", *names, **more)


def option(help: str, *names: str, **more: Any) -> Any:
    """Declare an option without a default worth showing.

    A file that may not be read is refused where it is read, which is no wrong usage.
    """
    return typer.Option(*names, help=help, show_default=False, readable=False, **more)


DEFAULT_CHECKPOINT = (
    f"${store.CHECKPOINT_VARIABLE}, else the latest run on real photos, else the bundled weights"
)
BUNDLED_NAMES = " or ".join(map(repr, store.BUNDLED_FILES))
SplitName = StrEnum("SplitName", ["train", "val", "test"])  # Typer takes no list of Literal
SHAPE, CLASSIC = RECIPES["classic"]

CacheDir = Annotated[
    Path | None,
    option(
        f"Folder of data and checkpoints. Default: ${store.CACHE_VARIABLE}, else the user's cache "
        "folder.",
        callback=_keep_in,
        is_eager=True,
        metavar="DIR",
        rich_help_panel=MACHINE,
    ),
]
Quiet = Annotated[
    bool,
    option(
        "Show no notes and no progress bars; errors and left-out files are still reported.",
        "--quiet",
        "-q",
        callback=console.set_quiet,
        is_eager=True,
        rich_help_panel=MACHINE,
    ),
]
Photos = Annotated[
    list[Path] | None,
    option(
        "Folder of photos; with --truth, instead of --data. May be repeated, for sets in several "
        "parts.",
        "--photos",
        metavar="DIR",
        **_INPUT,
    ),
]
Truth = Annotated[
    Path | None,
    option(
        "Folder of ground-truth masks, or labels from a labelling tool (a COCO or Label Studio "
        ".json, a CVAT .xml, a folder of LabelMe .json files); with --photos.",
        metavar="DIR|FILE",
        **_INPUT,
    ),
]
Category = Annotated[
    list[str] | None,
    option(
        "In labels, the category of the lesion; all others are ignored. May be repeated. "
        "Default: lesion; a photo with any other category is left out.",
        "--category",
        metavar="NAME",
        **_INPUT,
    ),
]
LesionColour = Annotated[
    list[str] | None,
    option(
        "In coloured masks, the colour of the lesion; may be repeated.",
        "--lesion-colour",
        metavar="#RRGGBB",
        **_INPUT,
    ),
]
LesionColor = Annotated[
    list[str] | None, option("Same as --lesion-colour.", "--lesion-color", hidden=True)
]
LesionLabel = Annotated[
    list[str] | None,
    option(
        "In coloured masks, the label of the lesion, whose colour is in labelmap.txt; may be "
        "repeated.",
        "--lesion-label",
        metavar="NAME",
        **_INPUT,
    ),
]
Groups = Annotated[
    Path | None,
    field(
        "CSV file with a column id and a column lesion, patient or group: photos of one group "
        "stay on one side of the split.",
        "groups.csv in the data set, if there is one",
        metavar="FILE",
        **_INPUT,
    ),
]
Data = Annotated[
    str | None,
    option(
        "Folder of photos and masks (or labels), or the name of a downloaded data set.",
        metavar="DIR|NAME",
        **_INPUT,
    ),
]
Device = Annotated[
    str | None,
    field(
        "cpu, cuda, cuda:1 or mps.",
        "cuda if available, else cpu",
        metavar="NAME",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int,
    typer.Option(min=1, help="Threads that read and write images.", rich_help_panel=MACHINE),
]
CheckpointName = Annotated[
    str | None,
    field(
        f"Checkpoint file, name or folder of a run, {BUNDLED_NAMES}.",
        DEFAULT_CHECKPOINT,
        "--checkpoint",
        "-c",
        metavar="FILE|RUN",
        rich_help_panel=NETWORK,
    ),
]
CheckpointNames = Annotated[
    list[str] | None,
    field(
        f"Checkpoint file, name or folder of a run, {BUNDLED_NAMES}; repeat it for the mean of "
        "several networks' probabilities, in which each file counts once.",
        DEFAULT_CHECKPOINT,
        "--checkpoint",
        "-c",
        metavar="FILE|RUN",
        rich_help_panel=NETWORK,
    ),
]
Threshold = Annotated[
    float | None,
    field(
        "Pixels with a higher probability are lesion.",
        "the checkpoint's own, 0.5 unless it says otherwise",
        min=0,
        max=1,
        rich_help_panel=NETWORK,
    ),
]
AllRegions = Annotated[
    bool,
    option(
        "Keep all regions and holes, for photos with several lesions. Default: the largest region, "
        "with its holes filled.",
        "--all-regions",
        rich_help_panel=NETWORK,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(min=1, help="Photos per batch (in torch only).", rich_help_panel=MACHINE),
]


def named_segmenter(
    checkpoint: str | Sequence[str] | None,
    device: str | None,
    threshold: float | None,
    all_regions: bool,
    concurrency: int,
    *,
    fast_start: bool = False,
) -> "Segmenter":
    """Load the network, for `concurrency` photos at a time, and name it on standard error.

    Several checkpoints are loaded as the mean of their networks.
    """
    with signals.ending_at_once():
        from lesionseg.network.device import keep_freed_memory
        from lesionseg.network.ensemble import weight_notes
        from lesionseg.network.provenance import DEFAULT_THRESHOLD
        from lesionseg.segmentation.segmenter import load

        if not fast_start:
            keep_freed_memory()
        segmenter = load(
            checkpoint or None,
            device,
            threshold,
            all_regions=all_regions,
            threads=max(1, _CORES // max(1, concurrency)),
            fast_start=fast_start,
        )
    if not checkpoint:
        note_run_passed_over(None)
    notes = []
    bundled = store.bundled_name(segmenter.path)
    if not checkpoint and os.environ.get(store.CHECKPOINT_VARIABLE):
        notes.append(f"from ${store.CHECKPOINT_VARIABLE}")
    elif bundled:
        notes.append(bundled)
    elif not checkpoint:
        notes.append("your latest run")
    if segmenter.checkpoint.data.synthetic:
        notes.append("trained on synthetic images only")
    if threshold is None and segmenter.threshold != DEFAULT_THRESHOLD:
        notes.append(f"threshold {segmenter.threshold:g}")
    if segmenter.checkpoint.members and not bundled:
        notes.append(f"the mean of {len(segmenter.checkpoint.members)} networks")
    why = f" ({', '.join(notes)})" if notes else ""
    names = ", ".join(map(str, segmenter.paths))
    plural = "s" if len(segmenter.paths) > 1 else ""
    console.log(f"checkpoint{plural} {names}{why} on {segmenter.network.device}")
    if len(segmenter.paths) > 1:
        note_all(weight_notes(segmenter.paths, segmenter.checkpoint.members))
    return segmenter


def note_run_passed_over(checkpoint: str | None) -> None:
    """Report a latest run that is not the default, as it was trained on synthetic images."""
    if not checkpoint and (runs := store.runs_passed_over()):
        console.warn(
            f"run {runs[0]} is not used: it was trained on synthetic images; to use it, add "
            f"--checkpoint {shlex.quote(runs[0])}"
        )


def command_line() -> str:
    """Return the command as it was typed."""
    return shlex.join(["lesionseg", *sys.argv[1:]])


def note_all(notes: Iterable[str]) -> None:
    """Write what a reader must know of a data set, a line each."""
    for note in notes:
        console.log(note)


def note_problems(problems: Iterable[str], what: str) -> None:
    """Write a line for each file, and how many there are."""
    problems = list(problems)
    for problem in problems:
        console.warn(f"{what}: {problem}")
    if len(problems) > 1:
        console.warn(f"{what}: {len(problems)} in all")
