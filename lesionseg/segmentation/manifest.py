"""The record of a run, a small JSON in the folder of its masks; it marks them as drafts.

It is written before the first mask, with counts that are null until the run ends.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lesionseg import files
from lesionseg.data.drafts import RECORD, read_record
from lesionseg.errors import DiskFullError, LesionsegError
from lesionseg.network.runtime import checksum
from lesionseg.segmentation.outcome import Tally
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.version import __version__


class Manifest:
    """Write the record of a run that makes masks; a later run into the same folder replaces it.

    Args:
        folder: of the masks; None for masks in files of their own, which have no record.
        command: the command line.
        options: what else decides about the masks.

    Raises:
        LesionsegError: another file of this name is there.
    """

    def __init__(self, folder: Path | None, command: str, options: Mapping[str, Any]) -> None:
        self._path = folder and folder / RECORD
        self._command, self._options = command, dict(options)
        self._lock = threading.Lock()
        self._begun = False
        if self._path and _is_foreign(self._path):
            raise LesionsegError(
                f"{self._path}: expected the record of a run of segment, got another file; move it "
                "away, or name another folder"
            )

    def begin(self, segmenter: Segmenter) -> None:
        """Write the record, before the first mask; safe to call from several threads.

        Raises:
            LesionsegError: it cannot be written.
        """
        with self._lock:
            if self._begun or self._path is None:
                return
            paths = segmenter.paths
            content = {
                "lesionseg": __version__,
                "command": self._command,
                "checkpoints": [{"file": str(path), "sha256": checksum(path)} for path in paths],
                "threshold": segmenter.threshold,
                "all_regions": segmenter.all_regions,
                **self._options,
                "counts": None,
            }
            self._write(content)
            self._begun = True

    def end(self, tally: Tally) -> None:
        """Write the counts of a run that made masks, in this process or in another one.

        On a full disk they stay null.

        Raises:
            LesionsegError: they cannot be written.
        """
        if self._path is None or not tally.done:
            return
        counts = {
            "made": tally.done,
            "empty": tally.empty,
            "failed": tally.failed,
            "skipped": tally.skipped,
        }
        record = read_record(self._path.parent)
        if record is None:  # someone has removed it, with the masks or to call them truth
            return
        with suppress(DiskFullError):
            self._write(record | {"counts": counts})

    def _write(self, content: Mapping[str, Any]) -> None:
        assert self._path is not None
        files.write(self._path, json.dumps(content, indent=2) + "\n")


def _is_foreign(path: Path) -> bool:
    """Tell whether something else than a record is there; an empty file is what a crash leaves."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return False
    return read_record(path.parent) is None
