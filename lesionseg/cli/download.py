"""`lesionseg download`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionseg import store
from lesionseg.cli import console, signals
from lesionseg.cli.help import INPUT, OUTPUT
from lesionseg.cli.options import CacheDir, Quiet, SplitName, field, option
from lesionseg.data.catalog import BASES, DATASETS, Name
from lesionseg.errors import counted

if TYPE_CHECKING:
    from lesionseg.data.download import Listed


def download(
    name: Annotated[
        Name, typer.Argument(help="Data set: isic2018, isic2017, isic2016 or demo.", metavar="NAME")
    ] = "isic2018",
    split: Annotated[
        list[SplitName] | None,
        field(
            "Only this split; may be repeated.",
            "all",
            metavar="train|val|test",
            rich_help_panel=INPUT,
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        field(
            "Fetch from <URL>/<year>/<file>.",
            "the two official addresses",
            metavar="URL",
            rich_help_panel=INPUT,
        ),
    ] = None,
    archives: Annotated[
        Path | None,
        option(
            "Use the zip files in this folder instead of fetching them.",
            metavar="DIR",
            rich_help_panel=INPUT,
        ),
    ] = None,
    shrink: Annotated[
        int | None,
        field(
            "Downscale photos and masks to a shorter side of this many pixels; 512 is plenty for "
            "training.",
            "full size",
            metavar="PIXELS",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        field(
            "Folder to unpack to.",
            "<cache>/data/<name>",
            "--output",
            "-o",
            metavar="DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    listing: Annotated[
        bool,
        option("List the data sets, and which are downloaded.", "--list", rich_help_panel=OUTPUT),
    ] = False,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Download a data set of photos and masks, or generate the synthetic demo set.

    Examples:
        lesionseg download
        lesionseg download --shrink 512
        lesionseg download isic2017 --split test
        lesionseg download --list

    After an interruption, run the same command again: it resumes. Every file is verified against
    its checksum. Prints the data set's folder.
    """
    from lesionseg.data import download as downloads

    if listing:
        console.show(_table(downloads.listing()))
        return
    target = output or store.data_dir(name)
    signals.interrupt()
    with console.bar(name) as bar:
        description = downloads.download(
            DATASETS[name],
            target,
            splits=split and [name.value for name in split],
            bases=(mirror,) if mirror else BASES,
            archives=archives,
            shrink=shrink,
            on_progress=lambda progress: bar(
                progress.done,
                progress.total,
                f"{progress.step} {progress.file}",
                unit="byte" if progress.step in ("fetch", "verify") else "file",
            ),
            note=console.log,
        )
    photos = ", ".join(f"{split} {count}" for split, count in description.splits.items())
    data = name if output is None else shlex.quote(str(target))
    console.log(f"{description.title}: photos: {photos}; licence: {description.licence}")
    console.log(f"next: lesionseg train --data {data}")
    print(target)


def _table(rows: "list[Listed]") -> Any:
    """Return a table of the data sets for a terminal."""
    from rich.table import Table

    table = Table("name", "photos", "download", "licence", "here")
    for row in rows:
        dataset, here = row.dataset, row.here
        photos = ", ".join(f"{split} {count}" for split, count in dataset.photos.items())
        size = sum(archive.bytes for archive in dataset.archives)
        held = (", ".join(here.splits) or "unfinished") if here else "no"
        if here and here.shrunk:
            held += f" (shrunk to {counted(here.shrunk, 'pixel')})"
        amount = f"{size / 1e9:.1f} GB" if size else "generated here"
        table.add_row(dataset.name, photos, amount, dataset.licence, held)
    return table
