"""`lesionseg check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionseg.cli import console
from lesionseg.cli.help import OUTPUT
from lesionseg.cli.options import (
    WORKERS,
    CacheDir,
    Category,
    Data,
    LesionColor,
    LesionColour,
    LesionLabel,
    Photos,
    Quiet,
    Truth,
    Workers,
    option,
)
from lesionseg.errors import counted, printable

if TYPE_CHECKING:
    from lesionseg.data.check import Checked

_SHOWN = 5  # names of each kind


def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of photos, with or without masks.",
            show_default=False,
            readable=False,
            metavar="FOLDER",
        ),
    ] = None,
    data: Data = None,
    photos: Photos = None,
    truth: Truth = None,
    category: Category = None,
    lesion_colour: LesionColour = None,
    lesion_color: LesionColor = None,
    lesion_label: LesionLabel = None,
    as_json: Annotated[
        bool, option("Print one JSON object.", "--json", rich_help_panel=OUTPUT)
    ] = False,
    workers: Workers = WORKERS,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Check photos and masks before training: what is read, what is left out, what looks wrong.

    Examples:
        lesionseg check my-photos
        lesionseg check --data isic2018 --json

    Every file is read, no network is needed, and nothing is written. The exit status is 1 if
    anything would be left out, or 'train' would refuse the set (not if it only has a part "test",
    for 'eval'); duplicate photos, and masks that look empty, full or inverted, are only reported.
    """
    from lesionseg.data import check as checks
    from lesionseg.data.source import choose_source

    chosen = bool(category or lesion_colour or lesion_color or lesion_label)
    if folder is not None and chosen and not (data or photos or truth):
        data, folder = str(folder), None  # which then must have masks or labels
    colours = [*(lesion_colour or ()), *(lesion_color or ())]
    source = choose_source(data, photos, truth, category, colours, lesion_label)
    if (folder is None) == (source is None):
        raise typer.BadParameter("give one of these: a folder, --data, or --photos and --truth")
    with console.bar("checking") as bar:
        if source is not None:
            result = checks.check_dataset(source.find(), workers, bar)
        else:
            assert folder is not None
            result = checks.check_folder(folder, workers, bar)
    if as_json:
        print(json.dumps(result.as_json()))
    else:
        for line in _lines(result):
            print(printable(line))
    if result.left_out or (result.untrainable and set(result.splits) != {"test"}):
        raise typer.Exit(1)


def _lines(result: "Checked") -> list[str]:
    """Return the result as text for people."""
    photos = counted(result.photos, "photo")
    if result.masks is None:
        lines = [f"{result.folder}: {photos} can be read; there are no masks"]
    else:
        splits = ", ".join(f"{name} {count}" for name, count in result.splits.items())
        lines = [
            f"{result.folder}: {photos} with masks can be read: {splits} (split: "
            f"{result.split_source})"
        ]
    lines += [f"note: {note}" for note in result.notes]
    if result.untrainable:
        lines.append(f"train would refuse this: {result.untrainable}")
    lines.append(f"left out: {len(result.left_out)}")
    lines += [f"  {count} {kind}" for kind, count in result.left_out_by_kind.items()]
    lines += _names(result.left_out)
    if result.sizes:
        (size, count), *_ = result.sizes.items()
        lines.append(
            f"sizes: {len(result.sizes)}; the most frequent is {size} ({counted(count, 'photo')})"
        )
    across = result.duplicates_across_splits
    lines.append(
        f"same content under several names: {len(result.duplicates)}"
        + (f", {across} of them in more than one split" if across else "")
    )
    lines += _names([" = ".join(group) for group in result.duplicates])
    lines += [f"photos of one colour: {len(result.one_colour)}", *_names(result.one_colour)]
    if result.masks is not None:
        for what, names in (
            ("empty", result.masks.empty),
            ("full", result.masks.full),
            ("possibly inverted", result.masks.inverted),
        ):
            lines += [f"masks, {what}: {len(names)}", *_names(names)]
    return lines


def _names(names: "tuple[str, ...] | list[str]") -> list[str]:
    more = len(names) - _SHOWN
    return [*(f"    {name}" for name in names[:_SHOWN])] + (
        [f"    and {more} more; --json lists all"] if more > 0 else []
    )
