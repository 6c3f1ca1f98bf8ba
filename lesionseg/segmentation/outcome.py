"""What became of a photo, and how many photos ended which way."""

from dataclasses import asdict, astuple, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from lesionseg.errors import LesionsegError
from lesionseg.segmentation.outputs import MaskOutputs
from lesionseg.segmentation.plan import Job

if TYPE_CHECKING:
    from lesionseg.clinic.results import Uids


class Status(StrEnum):
    """Which way a job ended."""

    DONE = "done"
    SKIPPED = "skipped"  # its files were there already
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a photo.

    Attributes:
        job: the photo and its files.
        status: done, skipped or failed.
        height, width: of the photo and its mask, in pixels; None, like the next four, unless done.
        lesion_share: share of the pixels, 0 to 1.
        quality: 0 to 1, how sure the network is of the mask; see `quality.agreement`.
        seconds: from opening the photo to its mask written, waiting for its batch included.
        doubtful: whether the quality is below the level that was set; None without a level.
        one_colour: whether the photo is of one colour, so that its mask means nothing.
        checkpoints: the files of the network; empty unless done with one from a file.
        uids: of a DICOM photo and its results.
        outputs: what was derived from the mask; empty where the job failed.
        error: why the job failed; None otherwise.
    """

    job: Job
    status: Status
    height: int | None = None
    width: int | None = None
    lesion_share: float | None = None
    quality: float | None = None
    seconds: float | None = None
    doubtful: bool | None = None
    one_colour: bool = False
    checkpoints: tuple[Path, ...] = ()
    uids: "Uids | None" = None
    outputs: MaskOutputs = field(default_factory=MaskOutputs)
    error: LesionsegError | None = None

    @property
    def empty(self) -> bool:
        """Tell whether the job is done and no lesion was found."""
        return bool(self.lesion_share == 0)

    def as_json(self) -> dict[str, object]:
        """Return what `segment --json` prints of the photo, ready for `json.dumps`."""
        photo = str(self.job.photo)
        if self.error is not None:
            return {"file": photo, "error": str(self.error)}
        line: dict[str, object] = {"file": photo, "mask": str(self.job.paths.mask)}
        if self.status is Status.SKIPPED:
            line["skipped"] = True
        else:
            line |= {name: getattr(self, name) for name in _OF_A_DONE_JOB}
            line["empty"] = self.empty
        if self.checkpoints:
            first, *others = map(str, self.checkpoints)
            line["checkpoint"] = [first, *others] if others else first
        if self.doubtful is not None:
            line["doubtful"] = self.doubtful
        if self.one_colour:
            line["one_colour"] = True
        if self.outputs.measurements is not None:
            line["measurements"] = asdict(self.outputs.measurements)
        if self.uids is not None:
            line["dicom"] = asdict(self.uids)
        return line


_OF_A_DONE_JOB = ("height", "width", "lesion_share", "quality", "seconds")


@dataclass(frozen=True)
class Tally:
    """How many photos ended which way; the doubtful, empty and one-coloured are among the done."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    doubtful: int = 0
    empty: int = 0
    one_colour: int = 0

    @classmethod
    def of(cls, outcome: Outcome) -> "Tally":
        """Count a single photo."""
        return cls(
            done=int(outcome.status is Status.DONE),
            skipped=int(outcome.status is Status.SKIPPED),
            failed=int(outcome.status is Status.FAILED),
            doubtful=int(bool(outcome.doubtful)),
            empty=int(outcome.empty),
            one_colour=int(outcome.one_colour),
        )

    @property
    def photos(self) -> int:
        """Return the number of photos that ended in any way."""
        return self.done + self.skipped + self.failed

    def __add__(self, other: "Tally") -> "Tally":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Tally(*(own + others for own, others in pairs))
