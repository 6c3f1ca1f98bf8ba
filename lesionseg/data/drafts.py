"""Tell drafts, masks that `segment` made, from truth: by the record that it leaves beside them."""

import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionseg.errors import LesionsegError

if TYPE_CHECKING:
    from lesionseg.data.pairs import Pair

RECORD = "lesionseg.json"  # in the folder of the masks
_VERSION, _RECURSIVE = "lesionseg", "recursive"  # keys


class DraftsError(LesionsegError):
    """Masks that were found are drafts, and nobody said that they are to be taken as truth."""


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of the last run of `segment` that made masks in a folder; None without."""
    try:
        content = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and _VERSION in content else None


def drafts_in(folder: Path) -> bool:
    """Tell whether masks in a folder are drafts: of a run into it, or `--recursive` above it."""
    if read_record(folder) is not None:
        return True
    records = map(read_record, folder.resolve().parents)
    return any(record is not None and record.get(_RECURSIVE) is True for record in records)


def refuse_drafts(pairs: "Iterable[Pair]") -> None:
    """Raise DraftsError where the masks of pairs are drafts, which nobody may have corrected."""
    examples = {pair.mask.parent: pair.photo.parent for pair in pairs if pair.labels is None}
    for folder, photos in examples.items():
        if drafts_in(folder):
            advice = f"name them with --photos {shlex.quote(str(photos))} --truth "
            advice += shlex.quote(str(folder))
            if folder == photos:  # where one folder cannot be named as both
                advice = f"remove {RECORD}"
            raise DraftsError(
                f"{folder}: 'lesionseg segment' made these masks ({RECORD} says so), so they are "
                f"not used as ground truth; once they are corrected, {advice}"
            )
