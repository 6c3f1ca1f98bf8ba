"""What `segment` reports about photos: errors and doubts as notes, lines of JSON, and counts."""

import json
import sys
from typing import TYPE_CHECKING

from lesionseg.cli import console
from lesionseg.errors import DiskFullError, LesionsegError, counted

if TYPE_CHECKING:
    from lesionseg.segmentation.outcome import Outcome, Tally


class Outcomes:
    """Report what became of each photo, and of all.

    Args:
        bar: shows how many photos are done.
        as_json: print a line of JSON for each photo.
        wants_dicom: count those that come as others than DICOM, for which no such result is made.
    """

    def __init__(self, bar: console.Bar, as_json: bool, wants_dicom: bool = False) -> None:
        self._bar, self._as_json, self._wants_dicom = bar, as_json, wants_dicom
        self._others = 0
        self._disk_full = False

    def show(self, outcome: "Outcome", done: int, total: int | None) -> None:
        """Report what became of a photo; see `jobs.run_shared`.

        Raises:
            LesionsegError: nobody reads standard output any more.
        """
        if outcome.error is not None:
            console.error(f"{outcome.error}{self._stop(outcome, done, total)}")
        if outcome.empty:
            console.warn(f"no lesion found: {outcome.job.photo}", every_process=True)
        if outcome.one_colour:
            note = f"of one colour, so that its mask means nothing: {outcome.job.photo}"
            console.warn(note, every_process=True)
        if outcome.doubtful:
            note = f"doubtful: {outcome.job.photo}: quality {outcome.quality:.4f}"
            console.warn(note, every_process=True)
        if self._as_json:
            _print(json.dumps(outcome.as_json()))
        if self._wants_dicom and total is None:  # else it was said before
            self._others += not outcome.job.paths.has_dicom
        self._bar(done, total)

    def _stop(self, outcome: "Outcome", done: int, total: int | None) -> str:
        """Return what a full disk means for the other photos; nothing for another error."""
        if not isinstance(outcome.error, DiskFullError) or total == 1:
            return ""
        self._disk_full = True
        number = f"{done}" if total is None else f"{done} of {total}"
        return f"; stopped at photo {number}; free some space and add --skip-existing"

    def summarise(self, tally: "Tally", photos: int | None, has_level: bool) -> None:
        """Report how many photos were done, failed and skipped, unless a full disk ended the run.

        Args:
            tally: the counts of all processes.
            photos: how many there were, where that is known.
            has_level: whether there is a level of quality below which masks are doubtful.
        """
        note_other_photos(self._others)
        if self._disk_full:
            return
        if max(photos or 0, tally.photos) > 1:
            doubts = f", {tally.doubtful} doubtful" if has_level else ""
            counts = f"{tally.done} done, {tally.failed} failed, {tally.skipped} skipped"
            empty = f", {tally.empty} without a lesion" if tally.empty else ""
            one_colour = f", {tally.one_colour} of one colour" if tally.one_colour else ""
            console.log(f"photos: {counts}{doubts}{empty}{one_colour}")
        if photos is not None and photos > tally.photos:  # the disk of another process
            left = photos - tally.photos
            console.warn(
                f"{counted(left, 'photo')} not processed; free some space and add --skip-existing"
            )


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise LesionsegError(
            "standard output was closed before the last photo, so this run has stopped; "
            "--skip-existing resumes it"
        ) from None


def note_other_photos(number: int) -> None:
    """Report how many photos are not DICOM, so that no DICOM result refers to them."""
    if number:
        console.warn(f"{counted(number, 'photo')} not DICOM, so without DICOM results")


def stdout_is_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
