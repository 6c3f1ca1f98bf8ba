"""Evaluations of the same photos side by side: what each gained over the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from lesionseg.evaluation import report
from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import Difference, Paired, paired

DEFINITIONS = (
    f"{report.DEFINITIONS}; differences: each score minus the first one's, photo by photo, on the "
    "photos that both have, then the mean; low and high: 95 % paired bootstrap interval of that "
    "mean; better and worse: on how many photos"
)


@dataclass(frozen=True)
class Comparison:
    """Evaluations of the same photos, each with a `name` of its own; of one, no differences."""

    evaluations: Sequence[Evaluation]

    @cached_property
    def differences(self) -> list[Paired]:
        """What the second, the third ... gained over the first.

        Raises:
            LesionsegError: one has no photo in common with the first.
        """
        first, *others = self.evaluations
        return [paired(first.scores, other.scores) for other in others]


def as_json(comparison: Comparison) -> dict[str, object]:
    """Return one object of plain JSON values.

    Of one evaluation it is that of `report.as_json`; of several it has `evaluations`, each such an
    object with its `name`, and `differences`.

    Raises:
        LesionsegError: an evaluation has no photo, or none in common with the first.
    """
    first, *others = comparison.evaluations
    if not others:
        return report.as_json(first)
    return {
        "evaluations": [
            {"name": evaluation.name, **report.as_json(evaluation)}
            for evaluation in comparison.evaluations
        ],
        "differences": [
            {"name": other.name, "against": first.name, **asdict(difference)}
            for other, difference in zip(others, comparison.differences, strict=True)
        ],
        "definitions": DEFINITIONS,
    }


def write(comparison: Comparison, folder: Path) -> None:
    """Write `summary.json` and `scores.csv` into `folder`.

    Of several evaluations the first column of `scores.csv` holds their names.

    Raises:
        LesionsegError: as `as_json`, or the files cannot be written.
    """
    evaluations = comparison.evaluations
    if len(evaluations) == 1:
        report.write(evaluations[0], folder)
        return
    rows = [
        [evaluation.name, *row] for evaluation in evaluations for row in report.rows(evaluation)
    ]
    report.write_files(folder, as_json(comparison), ("evaluation", *report.COLUMNS), rows)


def verdict(difference: Difference) -> str:
    """Return `better` or `worse` where the interval excludes 0."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no clear difference"


def notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """List every note once; where it is not for all, after the names of those that it is for."""
    names: dict[str, list[str]] = {}
    for evaluation in evaluations:
        for note in evaluation.notes:
            names.setdefault(note, []).append(evaluation.name)
    return [
        note if len(owners) == len(evaluations) else f"{', '.join(owners)}: {note}"
        for note, owners in names.items()
    ]
