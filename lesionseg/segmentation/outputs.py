"""Write what is derived from masks: their outlines as labels, and measurements."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from lesionseg import dicom
from lesionseg.config import TOLERANCE
from lesionseg.errors import LesionsegError
from lesionseg.files import AtomicTextFile, spreadsheet_text
from lesionseg.images import Mask
from lesionseg.segmentation.measurements import Measurements, measure

if TYPE_CHECKING:
    from pydicom import Dataset

    from lesionseg.labels import formats


@dataclass(frozen=True)
class MaskOutputs:
    """What was derived from a mask; None where it was not asked for."""

    measurements: Measurements | None = None
    outlines: "formats.PhotoShapes | None" = None


@dataclass(frozen=True)
class OutputOptions:
    """What to derive from masks, and where to write it.

    Attributes:
        labels: a file or folder; `tolerance` and `run_lengths` are those of `formats.writing`.
        table: a CSV file of measurements.
        measure: measure even without a table.
        mm_per_pixel: the scale of all photos that do not say their own, where it is known.
    """

    labels: Path | None = None
    tolerance: float = TOLERANCE
    run_lengths: bool = False
    table: Path | None = None
    measure: bool = False
    mm_per_pixel: float | None = None


class OutputWriter:
    """Derive outputs from masks and write them; made by `writing_outputs`."""

    def __init__(
        self,
        options: OutputOptions,
        labels: "formats.Writer | None",
        table: AtomicTextFile | None,
    ) -> None:
        self._options, self._labels = options, labels
        self._table = csv.writer(table, lineterminator="\n") if table else None
        self._has_header = False

    @property
    def mm_per_pixel(self) -> float | None:
        """Return the scale of photos that do not say their own."""
        return self._options.mm_per_pixel

    @property
    def writes_files(self) -> bool:
        """Tell whether labels or a table are written, so that every mask is needed."""
        return self._labels is not None or self._table is not None

    def analyse(
        self, mask: Mask, quality: float | None = None, header: "Dataset | None" = None
    ) -> MaskOutputs:
        """Derive the outputs that were asked for from a mask; safe to call from several threads.

        Args:
            mask: (H, W) bool.
            quality: 0 to 1, where it is known; stands among the measurements.
            header: of a DICOM photo, whose scale comes before that of the options.

        Raises:
            LesionsegError: a scale that is not a positive number.
        """
        wants_measurements = self._table or self._options.measure
        scale = self._options.mm_per_pixel
        if wants_measurements and header is not None:
            scale = dicom.scale(header, scale)
        return MaskOutputs(
            measure(mask, quality, scale) if wants_measurements else None,
            self._labels.draw(mask) if self._labels else None,
        )

    def add(self, photo: Path, mask: Path, outputs: MaskOutputs) -> None:
        """Write the outputs of the mask of a photo to the files.

        Raises:
            LesionsegError: the operating system refuses.
        """
        if self._labels and outputs.outlines:
            self._labels.add(photo, outputs.outlines)
        if self._table and outputs.measurements:
            if not self._has_header:  # a table without a row replaces none
                names = [column.name for column in fields(Measurements)]
                self._table.writerow(("file", "mask", *names))
                self._has_header = True
            paths = (spreadsheet_text(str(path)) for path in (photo, mask))
            self._table.writerow((*paths, *astuple(outputs.measurements)))


@contextmanager
def writing_outputs(
    options: OutputOptions, photos: Sequence[Path], *, keep: bool = False
) -> Iterator[OutputWriter]:
    """Open the files for the outputs of these photos; they appear whole, if no error is raised.

    Args:
        options: what is written, and where.
        photos: whose outputs will be added.
        keep: as of `formats.writing`.

    Raises:
        LesionsegError: as `formats.writing`, or the table is not a .csv.
    """
    table = options.table
    if (
        table is not None
        and table.suffix.lower() != ".csv"
        and (table.is_file() or not table.exists())
    ):
        raise LesionsegError(f"{table}: measurements are a CSV file; name it {table.stem}.csv")
    with ExitStack() as stack:
        label_writer = table_file = None
        if options.labels is not None:
            from lesionseg.labels import formats

            label_writer = stack.enter_context(
                formats.writing(
                    options.labels,
                    photos,
                    keep=keep,
                    tolerance=options.tolerance,
                    run_lengths=options.run_lengths,
                )
            )
        if table is not None:
            table_file = stack.enter_context(AtomicTextFile(table))
        yield OutputWriter(options, label_writer, table_file)
