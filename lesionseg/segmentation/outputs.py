"""Write what is derived from masks: their outlines as labels, and measurements.

Both may be ordered for labelling: the doubtful masks first. To label only those gives a biased set;
so a share of the photos, the control, is chosen at random, comes before all others, and is marked.
The choice depends on a photo's name alone, so that it is the same in every run.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from lesionseg import files
from lesionseg.config import TOLERANCE
from lesionseg.errors import DiskFullError, LesionsegError
from lesionseg.files import AtomicTextFile, TableWriter, spreadsheet_text
from lesionseg.images import dicom
from lesionseg.images.arrays import Mask
from lesionseg.segmentation.measurements import Measurements, measure

if TYPE_CHECKING:
    from pydicom import Dataset

    from lesionseg.labels import formats


@dataclass(frozen=True)
class MaskOutputs:
    """What was derived from a mask; None where it was not asked for."""

    measurements: Measurements | None = None
    outlines: "formats.PhotoShapes | None" = None
    quality: float | None = None


@dataclass(frozen=True)
class OutputOptions:
    """What to derive from masks, and where to write it.

    Attributes:
        labels: a file or folder; `tolerance` and `run_lengths` are those of `formats.writing`.
        table: a CSV file of measurements.
        measure: measure even without a table.
        mm_per_pixel: the scale of all photos that do not say their own, where it is known.
        doubtful_first: order labels and table by ascending quality, not as the photos come; masks
            of unknown quality come last. All rows are kept in memory until the end.
        control: share of the photos, 0 to 1, that are chosen at random, come first, are marked.
        doubtful_below: the quality, 0 to 1, below which a mask is marked as doubtful.
    """

    labels: Path | None = None
    tolerance: float = TOLERANCE
    run_lengths: bool = False
    table: Path | None = None
    measure: bool = False
    mm_per_pixel: float | None = None
    doubtful_first: bool = False
    control: float = 0.0
    doubtful_below: float | None = None


class OutputWriter:
    """Derive outputs from masks and write them; made by `writing_outputs`."""

    def __init__(
        self,
        options: OutputOptions,
        labels: "formats.Writer | None",
        table: AtomicTextFile | None,
    ) -> None:
        self._options, self._labels = options, labels
        self._table = TableWriter(table) if table else None
        self._has_header = False
        self._rows: list[tuple[Path, Path, MaskOutputs]] = []  # that wait for their order
        self.disk_full = False  # which was reported, so that it need not be again at the end

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
            quality: 0 to 1, where it is known; listed among the measurements.
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
            self._outlines(mask, quality),
            quality,
        )

    def _outlines(self, mask: Mask, quality: float | None) -> "formats.PhotoShapes | None":
        if self._labels is None:
            return None
        level = self._options.doubtful_below
        doubtful = None if level is None or quality is None else quality < level
        return self._labels.draw(mask)._replace(quality=quality, doubtful=doubtful)

    def add(self, photo: Path, mask: Path, outputs: MaskOutputs) -> None:
        """Write the outputs of the mask of a photo to the files, at the end where they are ordered.

        Raises:
            LesionsegError: the operating system refuses.
        """
        if self._options.doubtful_first:
            self._rows.append((photo, mask, outputs))
        else:
            self._write(photo, mask, outputs)

    def close(self) -> None:
        """Write what has waited for its order."""
        control = self._options.control

        def rank(row: tuple[Path, Path, MaskOutputs]) -> tuple[bool, float]:
            photo, _, outputs = row
            quality = math.inf if outputs.quality is None else outputs.quality
            return not is_control(photo, control), quality

        for row in sorted(self._rows, key=rank):
            self._write(*row)

    def _write(self, photo: Path, mask: Path, outputs: MaskOutputs) -> None:
        control = self._options.control
        if self._labels and outputs.outlines:
            outlines = outputs.outlines._replace(control=is_control(photo, control))
            self._labels.add(photo, outlines)
        if self._table and outputs.measurements:
            if not self._has_header:  # a table without a row replaces none
                names = [column.name for column in fields(Measurements)]
                self._table.writerow(("file", "mask", *names, *(("control",) if control else ())))
                self._has_header = True
            mark = (is_control(photo, control),) if control else ()
            paths = (spreadsheet_text(str(path)) for path in (photo, mask))
            self._table.writerow((*paths, *astuple(outputs.measurements), *mark))


def is_control(photo: Path, share: float) -> bool:
    """Tell whether a photo is in the control: as its name's hash falls, a `share` of all names."""
    digest = hashlib.sha256(photo.stem.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@contextmanager
def writing_outputs(
    options: OutputOptions, photos: Sequence[Path], *, keep: bool = False
) -> Iterator[OutputWriter]:
    """Open the files for the outputs of these photos; they appear whole, if no error is raised.

    Args:
        options: what is written, and where.
        photos: whose outputs will be added.
        keep: as for `formats.writing`.

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
    if table is not None:
        files.check_writable(table)
    writer = None
    try:
        with ExitStack() as stack:
            writer = _open(options, photos, keep, stack)
            yield writer
            writer.close()
    except DiskFullError:
        if writer is None or not writer.disk_full:
            raise


def _open(
    options: OutputOptions, photos: Sequence[Path], keep: bool, stack: ExitStack
) -> OutputWriter:
    labels = table = None
    if options.labels is not None:
        from lesionseg.labels import formats

        labels = stack.enter_context(
            formats.writing(
                options.labels,
                photos,
                keep=keep,
                tolerance=options.tolerance,
                run_lengths=options.run_lengths,
            )
        )
    if options.table is not None:
        table = stack.enter_context(AtomicTextFile(options.table))
    return OutputWriter(options, labels, table)
