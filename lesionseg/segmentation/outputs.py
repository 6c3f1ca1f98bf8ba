"""What is told of masks beside the masks themselves: their outlines as labels, measurements."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from lesionseg.config import TOLERANCE
from lesionseg.errors import LesionsegError
from lesionseg.files import AtomicTextFile
from lesionseg.images import Mask
from lesionseg.segmentation.measurements import Measurements, measure

if TYPE_CHECKING:
    from lesionseg.labels import formats


@dataclass(frozen=True)
class Findings:
    """What was found on a mask; None where nobody asked for it."""

    measurements: Measurements | None = None
    outlines: "formats.PhotoShapes | None" = None


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        labels: a file or folder; `tolerance` and `run_lengths` are those of `formats.writing`.
        table: a CSV file of measurements.
        measured: measure even where there is no table.
        mm_per_pixel: the scale of all photos, where it is known.
    """

    labels: Path | None = None
    tolerance: float = TOLERANCE
    run_lengths: bool = False
    table: Path | None = None
    measured: bool = False
    mm_per_pixel: float | None = None


class Recorder:
    """What `recording` gives."""

    def __init__(
        self, wanted: Wanted, writer: "formats.Writer | None", table: AtomicTextFile | None
    ) -> None:
        self._wanted, self._writer = wanted, writer
        self._table = csv.writer(table, lineterminator="\n") if table else None
        self._begun = False

    def examine(self, mask: Mask, quality: float | None = None) -> Findings:
        """What is to be found on a mask (H, W) bool; threads may call it at once.

        Raises:
            LesionsegError: a scale that is no positive number.
        """
        measured = self._table or self._wanted.measured
        return Findings(
            measure(mask, quality, self._wanted.mm_per_pixel) if measured else None,
            self._writer.draw(mask) if self._writer else None,
        )

    def add(self, photo: Path, mask: Path, findings: Findings) -> None:
        """Writes down what was found on the mask of a photo.

        Raises:
            LesionsegError: the operating system refuses.
        """
        if self._writer and findings.outlines:
            self._writer.add(photo, findings.outlines)
        if self._table and findings.measurements:
            if not self._begun:  # a table without a row replaces none
                self._table.writerow(
                    ("file", "mask", *(each.name for each in fields(Measurements)))
                )
                self._begun = True
            self._table.writerow((photo, mask, *astuple(findings.measurements)))


@contextmanager
def recording(wanted: Wanted, photos: Sequence[Path], *, keep: bool = False) -> Iterator[Recorder]:
    """Writes what is wanted of these photos; files appear whole when it ends without an error.

    `keep`, and what is raised, are those of `formats.writing`; a table that is no .csv is refused.
    """
    table = wanted.table
    if (
        table is not None
        and table.suffix.lower() != ".csv"
        and (table.is_file() or not table.exists())
    ):
        raise LesionsegError(f"{table}: measurements are a CSV file; name it {table.stem}.csv")
    with ExitStack() as stack:
        writer = file = None
        if wanted.labels is not None:
            from lesionseg.labels import formats

            writer = stack.enter_context(
                formats.writing(
                    wanted.labels,
                    photos,
                    keep=keep,
                    tolerance=wanted.tolerance,
                    run_lengths=wanted.run_lengths,
                )
            )
        if table is not None:
            file = stack.enter_context(AtomicTextFile(table))
        yield Recorder(wanted, writer, file)
