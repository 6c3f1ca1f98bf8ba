"""Several evaluations of the same photos side by side: what each gained over the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from lesionseg.errors import printable
from lesionseg.evaluation import report
from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import FAILURE_BELOW, Difference, Paired, paired

if TYPE_CHECKING:
    from rich.console import Group

DEFINITIONS = (
    f"{report.DEFINITIONS}; differences: each score minus the first one's, photo by photo, on the "
    "photos that both have, then the mean; low and high: 95 % paired bootstrap interval of that "
    "mean; better and worse: on how many photos"
)


@dataclass(frozen=True)
class Comparison:
    """Two or more evaluations of the same photos, each with a `name` of its own."""

    evaluations: Sequence[Evaluation]

    @cached_property
    def differences(self) -> list[Paired]:
        """What the second, the third ... gained over the first.

        Raises:
            LesionsegError: one has no photo in common with the first.
        """
        first, *others = self.evaluations
        return [paired(first.scores, other.scores) for other in others]


def short_names(paths: Sequence[PurePath]) -> list[str]:
    """The shortest ends of the paths that tell them apart; equal paths are numbered.

    A file `best.pt` goes by its run: `runs/a/best.pt` is `a`.
    """
    paths = [path.parent if path.name == "best.pt" and path.parent.name else path for path in paths]
    found: list[str] = []
    for path in paths:
        others = [other for other in paths if other != path]
        whole = len(path.parts)
        told = (n for n in range(1, whole) if all(o.parts[-n:] != path.parts[-n:] for o in others))
        count = next(told, whole)
        name = PurePath(*path.parts[-count:]).as_posix()
        again = sum(earlier == path for earlier in paths[: len(found)])
        found.append(f"{name} ({again + 1})" if again else name)
    return found


def as_json(comparison: Comparison) -> dict[str, object]:
    """One object of plain JSON values: `evaluations`, each as `report.as_json`, and `differences`.

    Raises:
        LesionsegError: an evaluation has no photo, or none in common with the first.
    """
    first, *others = comparison.evaluations
    return {
        "evaluations": [
            {"name": each.name, **report.as_json(each)} for each in comparison.evaluations
        ],
        "differences": [
            {"name": other.name, "against": first.name, **asdict(difference)}
            for other, difference in zip(others, comparison.differences, strict=True)
        ],
        "definitions": DEFINITIONS,
    }


def write(comparison: Comparison, folder: Path) -> None:
    """Write `summary.json`, and `scores.csv` with the names as its first column, into `folder`.

    Raises:
        LesionsegError: as `as_json`, or the files cannot be written.
    """
    rows = [[each.name, *row] for each in comparison.evaluations for row in report.rows(each)]
    report.write_files(folder, as_json(comparison), ("evaluation", *report.COLUMNS), rows)


def verdict(difference: Difference) -> str:
    """What the interval says: `better` or `worse` where it leaves 0 out."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no clear difference"


def signed(difference: Difference) -> str:
    """A mean difference with its 95 % interval, such as `+0.012 (+0.004 to +0.020)`."""
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def table(comparison: Comparison) -> "Group":
    """The scores side by side for a terminal, a table for rich, and the differences below it.

    Raises:
        LesionsegError: as `as_json`.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    first, *others = comparison.evaluations
    grid = Table("", "Dice", "Jaccard", "failures", caption="means (95 % interval)")
    for each in comparison.evaluations:
        scores = each.summary
        failed = f"{round(scores.failures * scores.photos)}, {scores.failures:.1%}"
        means = (report.with_interval(scores.dice), report.with_interval(scores.jaccard))
        grid.add_row(Text(printable(each.name)), *means, failed)
    lines = [
        f"data: {first.data.name}, split: {first.data.split}",
        *(
            f"{each.name}: photos: {each.summary.photos}, skipped: {len(each.skipped)}"
            for each in comparison.evaluations
        ),
        f"failures: Jaccard below {FAILURE_BELOW}",
    ]
    for other, gained in zip(others, comparison.differences, strict=True):
        lines.append(
            f"{other.name} against {first.name}, {gained.photos} photos: "
            f"{verdict(gained.dice)} in Dice"
        )
        lines += [
            f"  {name} {signed(value)}: better on {value.better}, worse on {value.worse}"
            for name, value in (("Dice", gained.dice), ("Jaccard", gained.jaccard))
        ]
    lines += [f"note: {note}" for note in notes(comparison.evaluations)]
    return Group(grid, *(Text(printable(line), no_wrap=True, overflow="ignore") for line in lines))


def notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """Every note once; where it is not for all, after the names of those that it is for."""
    found: dict[str, list[str]] = {}
    for each in evaluations:
        for note in each.notes:
            found.setdefault(note, []).append(each.name)
    return [
        note if len(of) == len(evaluations) else f"{', '.join(of)}: {note}"
        for note, of in found.items()
    ]
