"""Options that several commands share; their defaults are read from the configuration."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionseg import store
from lesionseg.config import ModelConfig, Recipe

WORKERS = os.cpu_count() or 1


def _keep_in(folder: Path | None) -> None:
    if folder is not None:
        os.environ[store.CACHE_VARIABLE] = str(folder)


def field(help: str, default: object, *names: str, **more: Any) -> Any:
    """An option that is None when not given; `default` is what the help shows."""
    return typer.Option(*names, help=help, show_default=str(default), **more)


def folder(help: str, *names: str) -> Any:
    """An option that takes a folder."""
    return typer.Option(*names, help=help, show_default=False, metavar="DIR")


SplitName = StrEnum("SplitName", ["train", "val", "test"])  # Typer takes no list of Literal
SHAPE, CLASSIC = ModelConfig(), Recipe()

CacheDir = Annotated[
    Path | None,
    typer.Option(
        callback=_keep_in,
        is_eager=True,
        metavar="DIR",
        show_default=f"${store.CACHE_VARIABLE}, else the user's cache folder",
        help="Where data and checkpoints are kept.",
    ),
]
Photos = Annotated[Path | None, folder("The photos; goes with --truth, in place of --data.")]
Truth = Annotated[Path | None, folder("The truth masks; goes with --photos.")]
Device = Annotated[
    str | None,
    field("cpu, cuda, cuda:1 or mps.", "cuda when there is one, else cpu", metavar="NAME"),
]
Workers = Annotated[int, typer.Option(min=1, help="Threads that read and write pictures.")]
CheckpointName = Annotated[
    str | None,
    field(
        "A checkpoint file, or the name or folder of a run.",
        f"${store.CHECKPOINT_VARIABLE}, else the latest run",
        "--checkpoint",
        "-c",
        metavar="FILE|RUN",
    ),
]
Threshold = Annotated[float, typer.Option(help="A pixel is lesion where its probability is above.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos in one step of the network.")]
