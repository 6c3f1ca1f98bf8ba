"""What is said of a photo, and how photos are counted."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionseg.cli.outcomes import Outcomes
from lesionseg.errors import LesionsegError, PhotoError
from lesionseg.segmentation.measurements import measure
from lesionseg.segmentation.outcome import Outcome, Status, Tally
from lesionseg.segmentation.outputs import MaskOutputs
from lesionseg.segmentation.plan import Job, OutputPaths

JOB = Job(Path("a.jpg"), OutputPaths(Path("masks/a.png")))
MEASUREMENTS = measure(np.ones((3, 2), bool))
FIGURES = {"height": 3, "width": 2, "lesion_share": 1.0, "quality": 0.5, "seconds": 0.25}
FIGURES |= {"empty": False}


def done(doubtful: bool | None = None) -> Outcome:
    return Outcome(JOB, Status.DONE, 3, 2, 1.0, 0.5, 0.25, doubtful)


EMPTY = Outcome(JOB, Status.DONE, 3, 2, 0.0, 0.5, 0.25)
FAILED = Outcome(JOB, Status.FAILED, error=PhotoError("a.jpg: not a photo"))
SKIPPED = Outcome(JOB, Status.SKIPPED)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (done(), {"mask": "masks/a.png", **FIGURES}),
        (done(doubtful=False), {"mask": "masks/a.png", **FIGURES, "doubtful": False}),
        (done(doubtful=True), {"mask": "masks/a.png", **FIGURES, "doubtful": True}),
        (EMPTY, {"mask": "masks/a.png", **FIGURES, "lesion_share": 0.0, "empty": True}),
        (SKIPPED, {"mask": "masks/a.png", "skipped": True}),
        (FAILED, {"error": "a.jpg: not a photo"}),
    ],
)
def test_the_line_of_json(outcome: Outcome, expected: dict[str, object]) -> None:
    assert json.loads(json.dumps(outcome.as_json())) == {"file": "a.jpg", **expected}


@pytest.mark.parametrize("status", [Status.DONE, Status.SKIPPED])
def test_measurements_stand_in_the_line_where_they_were_made(status: Status) -> None:
    outputs = MaskOutputs(MEASUREMENTS)
    line = json.loads(json.dumps(Outcome(JOB, status, outputs=outputs).as_json()))
    assert line["measurements"] == vars(MEASUREMENTS)


def test_a_tally_counts_each_photo_once() -> None:
    outcomes = [EMPTY, done(), done(doubtful=True), done(doubtful=False), SKIPPED, FAILED, FAILED]
    tally = sum(map(Tally.of, outcomes), start=Tally())
    assert tally == Tally(done=4, skipped=1, failed=2, doubtful=1, empty=1)


class _Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_that_goes_ends_the_run_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Closed())
    outcomes = Outcomes(lambda *_, **__: None, as_json=True)
    with pytest.raises(LesionsegError, match="standard output was closed before the last photo"):
        outcomes.show(Outcome(JOB, Status.SKIPPED), 1, 2)
