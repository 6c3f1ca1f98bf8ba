"""Options that several commands share, and what they mean; defaults come from the configuration."""

import os
import shlex
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionseg import distributed, store
from lesionseg.cli import console
from lesionseg.config import RECIPES

if TYPE_CHECKING:
    from lesionseg.segmentation.segmenter import Segmenter
    from lesionseg.training.runs import Source

_HOST = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
_CORES = max(1, len(_HOST) // distributed.local_world())  # for this process
WORKERS = min(8, _CORES)  # each may hold a photo at its full size


def _keep_in(folder: Path | None) -> None:
    if folder is not None:
        os.environ[store.CACHE_VARIABLE] = str(folder)


def field(help: str, default: object, *names: str, **more: Any) -> Any:
    """An option that is None when not given; `default` is what the help shows."""
    return typer.Option(*names, help=f"{help} Default: {default}.", show_default=False, **more)


def folder(help: str, *names: str) -> Any:
    """An option that takes a folder."""
    return typer.Option(*names, help=help, show_default=False, metavar="DIR")


SplitName = StrEnum("SplitName", ["train", "val", "test"])  # Typer takes no list of Literal
SHAPE, CLASSIC = RECIPES["classic"]

CacheDir = Annotated[
    Path | None,
    typer.Option(
        callback=_keep_in,
        is_eager=True,
        metavar="DIR",
        show_default=False,
        help=f"Where data and checkpoints are kept. Default: ${store.CACHE_VARIABLE}, else the "
        "user's cache folder.",
    ),
]
Photos = Annotated[Path | None, folder("The photos; goes with --truth, in place of --data.")]
Truth = Annotated[
    Path | None,
    typer.Option(
        show_default=False,
        metavar="DIR|FILE",
        help="The truth masks, or labels that a tool has corrected (a COCO .json, a CVAT .xml, a "
        "folder of LabelMe's .json); goes with --photos.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        metavar="DIR|NAME",
        help="A folder of photos and masks (or labels), or the name of a downloaded set.",
    ),
]
Device = Annotated[
    str | None,
    field("cpu, cuda, cuda:1 or mps.", "cuda when there is one, else cpu", metavar="NAME"),
]
Workers = Annotated[int, typer.Option(min=1, help="Threads that read and write pictures.")]
CheckpointName = Annotated[
    str | None,
    field(
        f"A checkpoint file, the name or folder of a run, or '{store.BUNDLED}'.",
        f"${store.CHECKPOINT_VARIABLE}, else the latest run, else the bundled weights",
        "--checkpoint",
        "-c",
        metavar="FILE|RUN",
    ),
]
Threshold = Annotated[
    float, typer.Option(min=0, max=1, help="A pixel is lesion where its probability is above.")
]
AllRegions = Annotated[
    bool,
    typer.Option(
        "--all-regions",
        help="Keep every region and every hole, where photos show several lesions. "
        "Default: the largest region, without holes.",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos in one step of the network, in torch.")]


def data_source(
    data: str | None, photos: Path | None, truth: Path | None, *, masks_alone: bool = False
) -> "Source | None":
    """Where the user says that photos and masks are; None where nothing was said."""
    from lesionseg.data.catalog import find_data
    from lesionseg.training.runs import Source

    if (photos is None) != (truth is None) and not (masks_alone and photos is None):
        raise typer.BadParameter("--photos and --truth go together")
    if data is not None and truth is not None:
        raise typer.BadParameter("--data names one folder, --photos and --truth two: give either")
    if data is None and truth is None:
        return None
    return Source(find_data(data) if data else None, photos, truth)


def named_segmenter(
    checkpoint: str | None,
    device: str | None,
    threshold: float,
    all_regions: bool,
    at_once: int,
    *,
    few: bool = False,
) -> "Segmenter":
    """The network that is meant, named on standard error; for `at_once` photos at the same time."""
    from lesionseg.network.device import keep_freed_memory
    from lesionseg.segmentation.segmenter import load

    if not few:
        keep_freed_memory()
    threads = max(1, _CORES // max(1, at_once))
    segmenter = load(
        checkpoint, device, threshold, all_regions=all_regions, threads=threads, few=few
    )
    drawn = " (trained on drawn pictures only)" if segmenter.checkpoint.data.synthetic else ""
    bundled = " (bundled)" if segmenter.path == store.BUNDLED_FILE else ""
    console.log(f"checkpoint {segmenter.path}{bundled}{drawn} on {segmenter.network.device}")
    console.end_by_sigterm_as_by_ctrl_c()  # while packages are imported it would be lost
    return segmenter


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["lesionseg", *sys.argv[1:]])


def note_problems(problems: Iterable[str], what: str) -> None:
    """A line for each file, and how many there are."""
    problems = list(problems)
    for problem in problems:
        console.log(f"{what}: {problem}")
    if len(problems) > 1:
        console.log(f"{what}: {len(problems)} in all")
