"""Evaluations as tables for a terminal."""

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lesionseg.errors import counted, printable
from lesionseg.evaluation import comparison
from lesionseg.evaluation.calibration import Calibration
from lesionseg.evaluation.comparison import Comparison
from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import FAILURE_BELOW, METRICS, Difference, Reliability, Statistic


def scores(evaluations: Comparison) -> Group:
    """Return the scores, of several evaluations side by side, with notes below the table.

    Raises:
        LesionsegError: an evaluation has no photo, or none in common with the first.
    """
    if len(evaluations.evaluations) == 1:
        return _one(evaluations.evaluations[0])
    return _several(evaluations)


def _one(evaluation: Evaluation) -> Group:
    summary = evaluation.summary
    table = Table("metric", "mean (95 % interval)", "median")
    for metric in METRICS:
        value = getattr(summary, metric)
        table.add_row(metric.replace("_", " "), _mean(value), f"{value.median:.3f}")
    failures = round(summary.failures * summary.photos)
    lines = [
        f"data: {evaluation.data.name}, split: {evaluation.data.split}",
        f"photos: {summary.photos}, skipped: {len(evaluation.skipped)}",
        f"failures (Jaccard below {FAILURE_BELOW}): {failures}, {summary.failures:.1%}",
        *_reliability(evaluation.reliability),
        *_calibration(evaluation.calibration),
        "worst by Jaccard:",
        *(f"  {score.confusion.jaccard:.3f}  {score.id}" for score in evaluation.worst(5)),
        *(f"note: {note}" for note in evaluation.notes),
    ]
    return Group(table, *_texts(lines))


def _several(evaluations: Comparison) -> Group:
    first, *others = evaluations.evaluations
    table = Table("", "Dice", "Jaccard", "failures", caption="means (95 % interval)")
    lines = [f"data: {first.data.name}, split: {first.data.split}"]
    for evaluation in evaluations.evaluations:
        summary, name = evaluation.summary, evaluation.name
        failures = f"{round(summary.failures * summary.photos)}, {summary.failures:.1%}"
        means = (_mean(summary.dice), _mean(summary.jaccard))
        table.add_row(Text(printable(name)), *means, failures)
        lines.append(f"{name}: photos: {summary.photos}, skipped: {len(evaluation.skipped)}")
    lines.append(f"failures: Jaccard below {FAILURE_BELOW}")
    for other, difference in zip(others, evaluations.differences, strict=True):
        lines += [
            f"{other.name} against {first.name}, {counted(difference.photos, 'photo')}: "
            f"{comparison.verdict(difference.dice)} in Dice",
            f"  Dice {_difference(difference.dice)}",
            f"  Jaccard {_difference(difference.jaccard)}",
        ]
    lines += [f"note: {note}" for note in comparison.notes(evaluations.evaluations)]
    return Group(table, *_texts(lines))


def _texts(lines: Iterable[str]) -> list[Text]:
    """Show names as they are: no markup, no emoji codes; control characters become escapes."""
    return [Text(printable(line), no_wrap=True, overflow="ignore") for line in lines]


def _mean(value: Statistic) -> str:
    """Format a mean with its 95 % interval, such as `0.920 (0.909 to 0.929)`."""
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def _difference(value: Difference) -> str:
    """Format a mean difference, its 95 % interval and on how many photos it goes which way."""
    return (
        f"{value.mean:+.3f} ({value.low:+.3f} to {value.high:+.3f}): "
        f"better on {value.better}, worse on {value.worse}"
    )


def _calibration(calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return []
    return [f"expected calibration error of the probabilities: {calibration.expected_error:.3f}"]


def _reliability(reliability: Reliability | None) -> list[str]:
    if reliability is None or reliability.rank_correlation is None:
        return []
    return [
        f"rank correlation of quality and Dice: {reliability.rank_correlation:.2f}",
        f"failures in the tenth of lowest quality: {reliability.in_lowest_tenth}, "
        f"in the fifth: {reliability.in_lowest_fifth}",
    ]
