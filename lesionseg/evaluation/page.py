"""Evaluations -> `report.html`: one file that needs no other, for people who look at pictures.

Thumbnails are made while the page is written, so that memory holds a few of them at a time.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lesionseg import files
from lesionseg.data.pairs import Pair, read_truth
from lesionseg.errors import LesionsegError, counted, printable
from lesionseg.evaluation import comparison, display_paths, gallery, plots
from lesionseg.evaluation.comparison import Comparison
from lesionseg.evaluation.gallery import Prediction
from lesionseg.evaluation.report import Evaluation
from lesionseg.evaluation.thumbnails import data_uri, grid_size, outline
from lesionseg.metrics import FAILURE_BELOW, METRICS
from lesionseg.threads import map_ahead

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
SMALL, LARGE = 256, 640  # the longer side of a picture in the list and of a shown one, in pixels
LISTED = 50  # lines of files without a score
NAMES = {name: name.replace("_", " ").capitalize().replace("jacc", "Jacc") for name in METRICS}
DEFINITIONS = {
    "dice": "Overlap of prediction and truth: 2 TP / (2 TP + FP + FN); 1 is perfect.",
    "jaccard": "Intersection over union: TP / (TP + FP + FN); never above the Dice.",
    "threshold_jaccard": f"The Jaccard, but 0 for a photo below {FAILURE_BELOW}; "
    "the 2018 challenge ranked by it.",
    "accuracy": "Share of all pixels that are right; high if the lesion is small.",
    "sensitivity": "Share of the true lesion that was found: TP / (TP + FN).",
    "specificity": "Share of the surrounding skin that was left out: TN / (TN + FP).",
}


@dataclass(frozen=True)
class Card:
    """A photo with its outlines; `picture` is a data URI, "" where there is no photo to show.

    `number` is its place in the list, from 0; `width` and `height` are those of the outlines' grid.
    """

    number: int
    name: str
    width: int
    height: int
    picture: str
    missing: str
    truth: str
    predictions: Sequence[Prediction]

    @property
    def failed(self) -> bool:
        """Whether any prediction has a Jaccard below 0.65."""
        return gallery.failed(self.predictions)

    @property
    def share(self) -> float:
        """The true lesion's share of the photo, 0 to 1."""
        return plots.lesion_share(self.predictions[0].score)

    @property
    def gains(self) -> dict[int, float]:
        """How much higher the Dice of the second, the third ... is than the first one's."""
        first, *others = self.predictions
        if first.candidate != 0:
            return {}
        base = first.score.confusion.dice
        return {other.candidate: other.score.confusion.dice - base for other in others}


def write(
    evaluations: Sequence[Evaluation],
    pairs: Mapping[str, Pair],
    path: Path,
    *,
    workers: int,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the report of one evaluation, or of several of the same photos side by side.

    Args:
        evaluations: their scores with outlines (`PhotoScore.outline`).
        pairs: the photo and the truth mask of each id, read again at a reduced size; a pair whose
            photo is its mask has outlines alone.
        path: of the file; it appears whole or not at all.
        workers: threads that read pictures.
        on_photo: is called with how many photos of the list are done, and how many there are.

    Raises:
        LesionsegError: no photo was scored, or the file cannot be written.
    """
    template = _environment().get_template("report.html")
    photos = gallery.by_photo(evaluations)
    numbers = {predictions[0].score.id: number for number, predictions in enumerate(photos)}
    large, small = (
        partial(_card, pairs=pairs, numbers=numbers, side=side) for side in (LARGE, SMALL)
    )
    groups = [
        (group, list(map_ahead(large, group.photos, workers)))
        for group in gallery.groups(photos, several=len(evaluations) > 1)
    ]

    def cards() -> Iterator[Card]:
        for done, card in enumerate(map_ahead(small, photos, workers), start=1):
            yield card
            on_photo(done, len(photos))

    context = {**_context(evaluations), "groups": groups, "numbers": numbers, "cards": cards()}
    with (
        files.atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        for part in template.generate(context):
            file.write(part)


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals.update(style=Markup(style), script=Markup(script), checksum=checksum)
    environment.globals.update(plots=plots, definitions=DEFINITIONS, names=NAMES)
    environment.globals.update(failure_below=FAILURE_BELOW)
    environment.filters.update(printable=printable, counted=counted, verdict=comparison.verdict)
    environment.filters.update(earlier=display_paths.earlier_checkpoints)
    return environment


def _card(
    predictions: Sequence[Prediction],
    pairs: Mapping[str, Pair],
    numbers: Mapping[str, int],
    side: int,
) -> Card:
    score = predictions[0].score
    pair = pairs[score.id]
    picture = missing = truth = ""
    try:
        if pair.photo != pair.mask:
            picture = data_uri(pair.photo, side)
    except LesionsegError:
        missing = "The photo cannot be read."
    with suppress(LesionsegError):
        truth = outline(read_truth(pair)[0])
    width, height = grid_size(score.height, score.width)
    number = numbers[score.id]
    return Card(number, score.id, width, height, picture, missing, truth, predictions)


def _context(evaluations: Sequence[Evaluation]) -> dict[str, object]:
    first, *others = evaluations
    folder = first.data.folder
    summaries = [evaluation.summary for evaluation in evaluations]
    without_score = [
        f"{evaluation.name}: {line}" if len(evaluations) > 1 else line
        for evaluation in evaluations
        for line in evaluation.skipped
    ]
    return {
        "evaluations": evaluations,
        "first": first,
        "several": len(evaluations) > 1,
        "metrics": METRICS,
        "failed": [round(summary.failures * summary.photos) for summary in summaries],
        "histograms": [
            plots.histogram([score.confusion.dice for score in evaluation.scores])
            for evaluation in evaluations
        ],
        "scatters": [plots.dice_by_size(evaluation.scores) for evaluation in evaluations],
        "sizes": [plots.size_groups(evaluation.scores) for evaluation in evaluations],
        "differences": list(zip(others, Comparison(evaluations).differences, strict=True)),
        "pairwise": [plots.dice_by_dice(first.scores, other.scores) for other in others],
        "notes": comparison.notes(evaluations),
        "folder": display_paths.short_path(folder, first) if folder else "",
        "files": [display_paths.checkpoint_file(evaluation) for evaluation in evaluations],
        "command": display_paths.short_command(first),
        "without_score": [display_paths.shorten(line, first) for line in without_score],
        "left_out": [display_paths.shorten(line, first) for line in first.left_out],
        "listed": LISTED,
    }
