"""Score photos: truth masks against a network's masks, or against finished ones."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lesionseg import files
from lesionseg.data import colours
from lesionseg.data.filenames import MASK, fold, list_images, mask_ids, may_hold_truth
from lesionseg.data.pairs import Pair, read_truth, turned_hint
from lesionseg.errors import DiskFullError, LesionsegError, PhotoError, as_result, counted
from lesionseg.evaluation import calibration
from lesionseg.evaluation.thumbnails import outline
from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.masks import read_mask
from lesionseg.images.png import mask_png
from lesionseg.metrics import PhotoScore, confusion
from lesionseg.segmentation.segmenter import Segmenter, stream
from lesionseg.threads import map_ahead

_ISIC_NUMBER = re.compile(r"(?<!\d)\d{7}(?!\d)")


@dataclass
class ScoringResult:
    """The scores of photos.

    Attributes:
        scores: of each photo.
        skipped: one line for each photo that has none.
        zero_one: how many files hold 0/1 masks.
        counts: of the pixels of photos that a network gave probabilities of.
        one_colour: how many photos of one colour a network was given.
    """

    scores: list[PhotoScore] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    zero_one: int = 0
    counts: calibration.Counts = field(default_factory=calibration.no_counts, compare=False)
    one_colour: int = 0

    def add(self, outcome: "_Scored | LesionsegError") -> None:
        """Count a photo, or why it has no score."""
        if isinstance(outcome, LesionsegError):
            self.skipped.append(str(outcome))
            return
        self.scores.append(outcome.score)
        self.zero_one += outcome.zero_one
        if outcome.counts is not None:
            self.counts = self.counts + outcome.counts
        self.one_colour += outcome.one_colour


class _Scored(NamedTuple):
    """A photo's score, whether it has 0/1 masks, the counts of its pixels, if any, and more."""

    score: PhotoScore
    zero_one: bool
    counts: calibration.Counts | None = None
    one_colour: bool = False


def evaluate(
    segmenter: Segmenter,
    pairs: Sequence[Pair],
    *,
    batch_size: int,
    workers: int,
    masks: Path | None = None,
    outlines: bool = False,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> ScoringResult:
    """Score a network on photos, each at its truth mask's own resolution.

    Args:
        segmenter: the network.
        pairs: photos and truth masks.
        batch_size: photos in one step of the network, in torch.
        workers: threads that read and write pictures.
        masks: a folder for the network's masks, `<id>_segmentation.png`.
        outlines: whether to keep the outlines of the masks with the scores, for a report with
            pictures.
        on_photo: is called with how many photos are done, and how many there are.

    Raises:
        LesionsegError: memory is out, or `masks` may hold truth masks.
    """
    if masks is not None and any(
        may_hold_truth(masks, pair.photo) or masks.resolve() == pair.mask.parent.resolve()
        for pair in pairs
    ):
        raise LesionsegError(
            f"{masks} may hold truth masks; write the network's masks to another folder"
        )

    def finish(
        pair: Pair, probabilities: Probabilities, size: tuple[int, int], photo: Photo
    ) -> _Scored:
        truth, zero_one = read_truth(pair, size)
        prediction = segmenter.at_size(probabilities, *size, photo)
        if masks is not None:
            files.write(masks / f"{pair.id}{MASK}.png", mask_png(prediction.mask))
        return _Scored(
            _score(pair.id, prediction.mask, truth, prediction.quality, outlines),
            zero_one,
            calibration.count(probabilities, truth),
            prediction.one_colour,
        )

    result = ScoringResult()
    outcomes = stream(
        segmenter, pairs, lambda pair: pair.photo, finish, batch_size=batch_size, workers=workers
    )
    for done, (_, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, DiskFullError):
            raise outcome
        result.add(outcome)
        on_photo(done, len(pairs))
    return result


def compare(
    predictions: Path,
    pairs: Sequence[Pair],
    *,
    workers: int,
    outlines: bool = False,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> ScoringResult:
    """Score the finished masks in the folder `predictions` against the truth masks of `pairs`.

    A mask is found by the name of its photo, with or without an ending (`mask_ids`), else by the
    seven digits of an ISIC name. Coloured ones are read as the truth masks are. `workers`,
    `outlines` and `on_photo` are those of `evaluate`.

    Raises:
        LesionsegError: no such folder, no mask in it fits, or they are coloured and the lesion's
            colour is in none.
    """
    masks = _masks_by_name(predictions)
    if pairs and not any(_masks_of(pair, masks) for pair in pairs):
        raise LesionsegError(
            f"{predictions}: none of these masks matches any of "
            f"{counted(len(pairs), 'truth mask')}; expected names such as "
            f"{pairs[0].id}_segmentation.png"
        )

    fitting = [path for pair in pairs for path in _masks_of(pair, masks)]
    chosen = frozenset(colour for pair in pairs for colour in pair.colours)
    lesion_colours = colours.find_same_colours(fitting, chosen)

    def score(pair: Pair) -> _Scored | LesionsegError:
        try:
            path = _mask_of(pair, masks, predictions)
            prediction, zero_one = read_mask(path, truth=False, colours=lesion_colours)
            truth, truth_zero_one = read_truth(pair)
            if prediction.shape != truth.shape:
                raise PhotoError(
                    f"{pair.id}: expected a mask of {truth.shape[1]}x{truth.shape[0]} pixels, the "
                    f"size of its truth mask, got {prediction.shape[1]}x{prediction.shape[0]}"
                    + turned_hint(prediction.shape, truth.shape)
                )
        except LesionsegError as error:
            return as_result(error)
        own = _score(pair.id, prediction, truth, None, outlines)
        return _Scored(own, zero_one or truth_zero_one)

    result = ScoringResult()
    for done, outcome in enumerate(map_ahead(score, pairs, workers), start=1):
        result.add(outcome)
        on_photo(done, len(pairs))
    return result


def merge(results: Sequence[ScoringResult]) -> ScoringResult:
    """Join what several processes scored, sorted by id; leave that of one as it is."""
    if len(results) == 1:
        return results[0]
    return ScoringResult(
        sorted((score for result in results for score in result.scores), key=lambda one: one.id),
        sorted(line for result in results for line in result.skipped),
        sum(result.zero_one for result in results),
        sum((result.counts for result in results), start=calibration.no_counts()),
        sum(result.one_colour for result in results),
    )


def _masks_by_name(folder: Path) -> dict[str, list[Path]]:
    """List the files of a folder by their ids, and by their ISIC number where they have one."""
    masks: dict[str, list[Path]] = {}
    for path in list_images(folder):
        number = _ISIC_NUMBER.search(path.stem)
        for key in {*mask_ids(path), *([number[0]] if number else [])}:
            masks.setdefault(key, []).append(path)
    return masks


def _masks_of(pair: Pair, masks: dict[str, list[Path]]) -> list[Path]:
    number = _ISIC_NUMBER.search(pair.id)
    keys = [fold(pair.id), *([number[0]] if number else [])]
    keys += mask_ids(pair.mask) if pair.mask == pair.photo else []
    return next((masks[key] for key in keys if key in masks), [])


def _mask_of(pair: Pair, masks: dict[str, list[Path]], folder: Path) -> Path:
    paths = _masks_of(pair, masks)
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths)
        raise PhotoError(f"{pair.id}: expected one mask in {folder}, found {names or 'none'}")
    return paths[0]


def _score(
    photo: str, prediction: Mask, truth: Mask, quality: float | None, outlines: bool
) -> PhotoScore:
    return PhotoScore(
        id=photo,
        confusion=confusion(prediction, truth),
        height=truth.shape[0],
        width=truth.shape[1],
        quality=quality,
        outline=outline(prediction) if outlines else "",
    )
