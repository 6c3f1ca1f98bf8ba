"""What `segment` is to do: photos from the command line, from lists and pipes, and its plan."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lesionseg import distributed
from lesionseg.cli import console
from lesionseg.cli.outcomes import note_other_photos, stdout_is_terminal

if TYPE_CHECKING:
    from lesionseg.segmentation.plan import Job, OutputPaths

STDIO = Path("-")  # `plan.STDIO`, which is not imported for --help
Inputs = list[Path] | Iterator[list[Path]]  # all of them, or those that are there at a time
_NO_PHOTOS = "no photos; name a file, a folder, or - for standard input"


@dataclass(frozen=True)
class Plan:
    """The jobs, or those that are there at a time, and the folder of their masks, if any."""

    jobs: "Sequence[Job] | Iterator[Sequence[Job]]"
    folder: Path | None

    @property
    def photos(self) -> int | None:
        """Return the number of photos, where it is known."""
        return len(self.jobs) if isinstance(self.jobs, Sequence) else None


def read_inputs(
    photos: list[Path], files_from: Path | None, null: bool, output: Path | None
) -> Inputs:
    """List the inputs that are named on the command line, and in a file.

    Where the names come from a pipe, and results go to a folder, they are taken as they come.
    """
    if null and files_from is None:
        raise typer.BadParameter("--null needs --files-from")
    pipe = None if files_from is None else _pipe(files_from)
    if distributed.world_size() > 1 and (STDIO in [*photos, files_from] or pipe is not None):
        raise typer.BadParameter(
            "several processes cannot share standard input; name files instead"
        )
    if files_from == STDIO and STDIO in photos:
        raise typer.BadParameter("standard input cannot be a photo and a list of names")
    if pipe is not None and files_from != STDIO:
        console.log(f"waiting for names from the pipe {files_from}")
    if pipe is not None and output is not None and _takes_several(output):
        return _incoming(photos, pipe, null)
    inputs = [*photos, *_listed(files_from, null)]
    if not inputs:
        raise typer.BadParameter(_NO_PHOTOS)
    return inputs


def _pipe(files_from: Path) -> "int | Path | None":
    """Return what to read names from as they come; None for a file, which is read whole."""
    if files_from != STDIO:
        is_pipe = files_from.exists() and not (files_from.is_file() or files_from.is_dir())
        return files_from if is_pipe else None
    with suppress(AttributeError, OSError, ValueError):  # closed, or not a file
        descriptor = sys.stdin.fileno()
        return None if stat.S_ISREG(os.fstat(descriptor).st_mode) else descriptor
    return None


def _takes_several(output: Path) -> bool:
    from lesionseg.segmentation.plan import names_folder

    return names_folder(output)


def _incoming(photos: list[Path], pipe: int | Path, null: bool) -> Iterator[list[Path]]:
    from lesionseg.data.lists import stream_names

    if photos:
        yield photos
    is_empty = not photos
    for names in stream_names(pipe, null=null):
        is_empty = False
        yield [Path(name) for name in names]
    if is_empty:
        raise typer.BadParameter(_NO_PHOTOS)


def _listed(files_from: Path | None, null: bool) -> Iterable[Path]:
    from lesionseg.data.lists import read_names

    if files_from is None or (files_from == STDIO and not sys.stdin):
        return ()
    source = sys.stdin.buffer if files_from == STDIO else files_from
    return map(Path, read_names(source, null=null))


def mask_path(inputs: Inputs, output: Path | None, as_json: bool) -> Path:
    """Choose where masks go; standard output only where it can take a PNG."""
    if output is None and inputs != [STDIO]:
        raise typer.BadParameter(
            "where should the mask go? -o mask.png for one photo, -o FOLDER for several"
        )
    output = output or STDIO
    if output == STDIO and sys.stdout is None:
        raise typer.BadParameter("standard output is closed; name a file for the mask: -o mask.png")
    if output == STDIO and (as_json or stdout_is_terminal()):
        use = "used by --json" if as_json else "a terminal"
        raise typer.BadParameter(f"standard output is {use}; name a file for the mask: -o mask.png")
    return output


def plan_inputs(
    inputs: Inputs,
    paths: "OutputPaths",
    labels: Path | None,
    skip_existing: bool,
    recursive: bool,
) -> Plan:
    """Plan the jobs: all of them before anything is written, or as their names come."""
    from lesionseg.segmentation.incoming import plan_incoming
    from lesionseg.segmentation.plan import plan_jobs

    if isinstance(inputs, list):
        jobs = plan_jobs(inputs, paths, skip_existing=skip_existing, recursive=recursive)
        if paths.segmentation or paths.report:
            note_other_photos(sum(not job.paths.has_dicom for job in jobs))
        return Plan(jobs, None if jobs[0].paths.mask == paths.mask else paths.mask)

    def check_labels(photo: Path) -> None:
        if labels is not None:
            from lesionseg.labels import formats

            formats.check_photos(labels, [photo], keep=skip_existing)

    options = {"skip_existing": skip_existing, "recursive": recursive}
    return Plan(plan_incoming(inputs, paths, check_labels, **options), paths.mask)
