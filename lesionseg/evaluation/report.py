"""An evaluation, and its scores as JSON and CSV; nothing is computed here but shares."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from lesionseg import files
from lesionseg.config import ModelConfig, Recipe
from lesionseg.evaluation.calibration import BINS, Calibration
from lesionseg.metrics import (
    FAILURE_BELOW,
    METRICS,
    PhotoScore,
    Reliability,
    Summary,
    reliability,
    summarise,
)

SUMMARY, SCORES = "summary.json", "scores.csv"
DEFINITIONS = (
    "scores of each photo at its truth mask's own resolution (rules of isic-challenge-scoring), "
    "then the unweighted mean over photos; low and high: 95 % bootstrap interval of the mean; "
    f"failures: share of photos with a Jaccard below {FAILURE_BELOW}; reliability: how well the "
    "quality, estimated without the truth, predicts these scores: rank correlation (Spearman) with "
    "Dice, and how many photos with such a Jaccard are in the tenth and the fifth of lowest quality"
    f"; calibration: of all pixels in {BINS} bins of probability, the mean of |mean probability - "
    "share of lesion|, weighted by pixels (Guo et al. 2017)"
)
COLUMNS = (
    *("id", "height", "width", "lesion_share_truth", "lesion_share_prediction"),
    *METRICS,
    *("tp", "fp", "fn", "tn"),
    "quality",
)


@dataclass(frozen=True, kw_only=True)
class EarlierCheckpoint:
    """What a report says of a network that another comes from; its fields are keys of the JSON.

    Attributes:
        file: its path, the name of its run or of bundled weights; None where it is withheld.
        trained_on: name of the data set.
        training_photos: how many there were.
    """

    file: str | None
    trained_on: str
    training_photos: int


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a report says of a checkpoint; its fields are keys of the JSON.

    Attributes:
        file: its path; None where it was not read from a file, or is withheld.
        epoch: full epochs behind it.
        model: the network's shape.
        recipe: how it was trained.
        trained_on: name of the data set.
        training_photos: how many there were.
        version: of lesionseg, when it was trained.
        command: that trained it, "" where unknown; None where it is withheld; of several networks
            those of all, joined by " && ".
        commit: of lesionseg's source, "" where unknown.
        parent: the checkpoint whose weights it started from; None where it started from scratch.
        teachers: the checkpoints whose masks it learned.
        mean_of: the networks whose probabilities it is the mean of; empty for a single one. Fields
            in which they differ are those of the first with the largest input.
    """

    file: str | None
    epoch: int
    model: ModelConfig
    recipe: Recipe
    trained_on: str
    training_photos: int
    version: str
    command: str | None
    commit: str
    parent: EarlierCheckpoint | None = None
    teachers: tuple[EarlierCheckpoint, ...] = ()
    mean_of: tuple["CheckpointInfo", ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a report says of the photos and truth masks; its fields are keys of the JSON.

    Attributes:
        name: of the data set, or of its folder.
        folder: its path; None where it is withheld.
        split: "train", "val", "test" or "all".
        split_source: as for `discovery.Dataset`.
        drawn: whether the pictures are synthetic.
        shrunk: the longest that a photo's shorter side may be, in pixels; None for full size.
    """

    name: str
    folder: str | None
    split: str
    split_source: str
    drawn: bool
    shrunk: int | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one checkpoint or folder of masks, and where they come from.

    Attributes:
        scores: of the photos.
        skipped: one line for each photo that could not be scored.
        checkpoint: None where the masks came from elsewhere.
        data: the photos and truth masks.
        command: that made this evaluation.
        version: of lesionseg.
        threshold: lesion where the probability is above it; None without a network.
        all_regions: whether more than the largest region was kept; None without a network.
        notes: what a reader must know before quoting a number; they name no file and no folder.
        left_out: one line for each file without a partner.
        name: what a reader calls the checkpoint, or the folder of masks.
        calibration: of the network's probabilities; None without a network.
    """

    scores: list[PhotoScore]
    skipped: list[str]
    checkpoint: CheckpointInfo | None
    data: DataInfo
    command: str
    version: str
    threshold: float | None
    all_regions: bool | None
    notes: list[str]
    left_out: list[str] = field(default_factory=list)
    name: str = ""
    calibration: Calibration | None = None

    @cached_property
    def summary(self) -> Summary:
        """The scores of the set.

        Raises:
            LesionsegError: no photo was scored.
        """
        return summarise([score.confusion for score in self.scores])

    @cached_property
    def reliability(self) -> Reliability | None:
        """How well the estimated quality predicts the scores; None for masks from elsewhere."""
        return reliability(self.scores)

    def worst(self, count: int | None = None) -> list[PhotoScore]:
        """Return up to `count` photos, else all, the lowest Jaccard first; equal ones by id."""
        return sorted(self.scores, key=lambda score: (score.confusion.jaccard, score.id))[:count]


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """Return the summary as one object of JSON values: `photos`, `failures`, `dice.mean` and so on.

    Raises:
        LesionsegError: no photo was scored.
    """
    worst = [
        {"id": score.id, "dice": score.confusion.dice, "jaccard": score.confusion.jaccard}
        for score in evaluation.worst(10)
    ]
    return {
        **asdict(evaluation.summary),
        "reliability": asdict(evaluation.reliability) if evaluation.reliability else None,
        "calibration": evaluation.calibration.as_json() if evaluation.calibration else None,
        "worst": worst,
        "skipped": list(evaluation.skipped),
        "left_out": list(evaluation.left_out),
        "notes": list(evaluation.notes),
        "checkpoint": _described(evaluation.checkpoint) if evaluation.checkpoint else None,
        "data": asdict(evaluation.data),
        "threshold": evaluation.threshold,
        "all_regions": evaluation.all_regions,
        "version": evaluation.version,
        "command": evaluation.command,
        "definitions": DEFINITIONS,
    }


def _described(checkpoint: CheckpointInfo) -> dict[str, object]:
    """Return the fields of a checkpoint; `mean_of` only where there is something in it."""
    values = {**asdict(checkpoint), "teachers": [*map(asdict, checkpoint.teachers)]}
    del values["mean_of"]
    members = [_described(member) for member in checkpoint.mean_of]
    return {**values, "mean_of": members} if members else values


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write `summary.json` and `scores.csv` (a row for each photo, by id) into `folder`.

    Raises:
        LesionsegError: no photo was scored, or the files cannot be written.
    """
    write_files(folder, as_json(evaluation), COLUMNS, rows(evaluation))


def write_files(
    folder: Path,
    summary: dict[str, object],
    columns: Iterable[str],
    scores: Iterable[Iterable[object]],
) -> None:
    """Write `summary.json`, and `scores.csv` with a line of `columns` and one for each row.

    Raises:
        LesionsegError: the files cannot be written.
    """
    files.write(folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    # A file name of undecodable bytes is no UTF-8 either: its odd bytes are written as \udcff.
    with (
        files.atomic_write(folder / SCORES) as path,
        path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = files.TableWriter(file)
        table.writerow(columns)
        for row in scores:
            table.writerow(
                files.spreadsheet_text(value) if isinstance(value, str) else value for value in row
            )


def rows(evaluation: Evaluation) -> list[list[object]]:
    """Return the values of `COLUMNS` for each photo, by id."""
    return [_row(score) for score in sorted(evaluation.scores, key=lambda score: score.id)]


def _row(score: PhotoScore) -> list[object]:
    counts, pixels = score.confusion, score.height * score.width
    tp, fp, fn = counts.true_positive, counts.false_positive, counts.false_negative
    values = [getattr(counts, name) for name in METRICS]
    shares = ((tp + fn) / pixels, (tp + fp) / pixels)
    pixel_counts = (tp, fp, fn, counts.true_negative)
    return [score.id, score.height, score.width, *shares, *values, *pixel_counts, score.quality]
