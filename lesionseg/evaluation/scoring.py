"""Truth masks against a network's masks, or against finished ones: the scores of a set."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lesionseg import files, images
from lesionseg.data.discovery import Dataset
from lesionseg.data.filenames import MASK, file_id, list_images, may_hold_truth
from lesionseg.data.pairs import Pair, read_truth
from lesionseg.errors import LesionsegError, as_result
from lesionseg.evaluation.report import Evaluation
from lesionseg.evaluation.thumbnails import outline
from lesionseg.images import Mask, Probabilities
from lesionseg.metrics import PhotoScore, confusion
from lesionseg.network.provenance import TrainingData
from lesionseg.segmentation.segmenter import Segmenter, stream
from lesionseg.threads import map_ahead
from lesionseg.version import __version__

_ISIC_NUMBER = re.compile(r"(?<!\d)\d{7}(?!\d)")


@dataclass
class Scored:
    """The scores, one line for each photo that has none, and how many files hold 0/1 masks."""

    scores: list[PhotoScore] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    zero_one: int = 0


def evaluate(
    segmenter: Segmenter,
    pairs: Sequence[Pair],
    *,
    batch_size: int,
    workers: int,
    masks: Path | None = None,
    outlines: bool = False,
    on_photo: Callable[[int], None] = lambda done: None,
) -> Scored:
    """Scores a network on photos, each at its truth mask's own resolution.

    `masks` is a folder for the network's masks, `<id>_segmentation.png`. `outlines` keeps those of
    the masks with the scores, for a report with pictures. `on_photo` is told how many photos are
    done.

    Raises:
        LesionsegError: memory is out, or `masks` may hold truth masks.
    """
    if masks is not None and any(
        may_hold_truth(masks, pair.photo) or masks.resolve() == pair.mask.parent.resolve()
        for pair in pairs
    ):
        raise LesionsegError(f"{masks} may hold truth masks; write the network's elsewhere")

    def finish(pair: Pair, soft: Probabilities, size: tuple[int, int]) -> tuple[PhotoScore, bool]:
        truth, zero_one = read_truth(pair, size)
        drawn = segmenter.at_size(soft, *size)
        if masks is not None:
            files.write(masks / f"{pair.id}{MASK}.png", images.mask_png(drawn.mask))
        return _score(pair.id, drawn.mask, truth, drawn.quality, outlines), zero_one

    scored = Scored()
    results = stream(
        segmenter, pairs, lambda pair: pair.photo, finish, batch_size=batch_size, workers=workers
    )
    for done, (_, result) in enumerate(results, start=1):
        _collect(scored, result)
        on_photo(done)
    return scored


def compare(
    predictions: Path,
    pairs: Sequence[Pair],
    *,
    workers: int,
    outlines: bool = False,
    on_photo: Callable[[int], None] = lambda done: None,
) -> Scored:
    """Scores the finished masks in the folder `predictions` against the truth masks of `pairs`.

    A mask is found by the name of its photo, with or without `_segmentation`, else by the seven
    digits of an ISIC name. `outlines` and `on_photo` are those of `evaluate`.

    Raises:
        LesionsegError: no such folder, or no mask in it fits.
    """
    by_name = _by_name(predictions)
    if pairs and not any(_named(pair, by_name) for pair in pairs):
        raise LesionsegError(
            f"{predictions}: no mask in it belongs to any of {len(pairs)} truth masks; "
            f"expected names such as {pairs[0].id}_segmentation.png"
        )

    def score(pair: Pair) -> tuple[PhotoScore, bool] | LesionsegError:
        try:
            prediction, zero_one = images.read_mask(
                _prediction(pair, by_name, predictions), truth=False
            )
            truth, truth_zero_one = read_truth(pair)
            if prediction.shape != truth.shape:
                raise LesionsegError(
                    f"{pair.id}: expected a mask of {truth.shape[1]}x{truth.shape[0]} pixels as "
                    f"the truth, got {prediction.shape[1]}x{prediction.shape[0]}"
                )
        except LesionsegError as error:
            return as_result(error)
        return _score(pair.id, prediction, truth, None, outlines), zero_one or truth_zero_one

    scored = Scored()
    for done, result in enumerate(map_ahead(score, pairs, workers), start=1):
        _collect(scored, result)
        on_photo(done)
    return scored


def merge(shares: Sequence[Scored]) -> Scored:
    """What several processes scored, sorted by id; of one, as it is."""
    if len(shares) == 1:
        return shares[0]
    return Scored(
        sorted((score for each in shares for score in each.scores), key=lambda score: score.id),
        sorted(line for each in shares for line in each.skipped),
        sum(each.zero_one for each in shares),
    )


def default_split(found: Dataset, *trained: TrainingData | None) -> str:
    """The split to score where none is named: "val" where one is set apart, else "all".

    A split that is drawn here, by hash, counts only where a network was trained on the rest.
    """
    if "val" not in found.pairs:
        return "all"

    def set_apart(data: TrainingData) -> bool:
        known, seen = (_overlap(found.split(split), data) for split in ("all", "val"))
        return known > 0 and seen == 0

    drawn_here = found.split_source == "seeded"
    return "val" if not drawn_here or any(set_apart(data) for data in trained if data) else "all"


def _overlap(pairs: Sequence[Pair], trained: TrainingData) -> int:
    """How many of the photos the network was trained on, by id."""
    ids = {name.lower() for name in trained.train_ids}
    return sum(pair.id.lower() in ids for pair in pairs)


def build_evaluation(
    scored: Scored,
    found: Dataset,
    split: str,
    segmenter: Segmenter | None,
    command: str,
    name: str = "",
) -> Evaluation:
    """The scores with what a reader must know before quoting them; `name` tells who drew."""
    about = found.description
    pairs = found.split(split)
    notes = []
    if scored.skipped:
        notes.append(f"{len(scored.skipped)} of {len(pairs)} photos could not be scored")
    if about and about.synthetic:
        notes.append("these pictures are drawn by lesionseg; they are no photos")
    if about and about.shrunk:
        notes.append(
            f"photos and truth masks were shrunk to a shorter side of {about.shrunk} pixels: "
            "not comparable with scores at full size"
        )
    if segmenter and (seen := _overlap(pairs, segmenter.checkpoint.data)):
        notes.append(f"the network was trained on {seen} of these {len(pairs)} photos")
    if segmenter and segmenter.checkpoint.data.synthetic and not (about and about.synthetic):
        notes.append("the network was trained on drawn pictures only")
    if scored.zero_one:
        notes.append(
            f"masks of 0/1, read as 0/255: {scored.zero_one}; "
            "the challenge's own scorer reads such a mask as empty"
        )
    return Evaluation(
        scores=scored.scores,
        skipped=scored.skipped,
        left_out=list(found.problems),
        checkpoint=_described(segmenter) if segmenter else None,
        data={
            "name": about.name if about else found.folder.absolute().name,
            "folder": str(found.folder.absolute()),
            "split": split,
            "split_source": found.split_source,
            "drawn": bool(about and about.synthetic),
            "shrunk": about.shrunk if about else None,
        },
        command=command,
        version=__version__,
        threshold=segmenter.threshold if segmenter else None,
        all_regions=segmenter.all_regions if segmenter else None,
        notes=notes,
        name=name,
    )


def _described(segmenter: Segmenter) -> dict[str, object]:
    checkpoint = segmenter.checkpoint
    return {
        "file": str(segmenter.path) if segmenter.path else None,
        "epoch": checkpoint.epoch,
        "model": asdict(checkpoint.model),
        "recipe": asdict(checkpoint.recipe),
        "trained_on": checkpoint.data.name,
        "training_photos": len(checkpoint.data.train_ids),
        "version": checkpoint.version,
        "command": checkpoint.command,
        "commit": checkpoint.commit,
    }


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by their id, and by their ISIC number where they have one."""
    found: dict[str, list[Path]] = {}
    for path in list_images(folder):
        number = _ISIC_NUMBER.search(path.stem)
        for key in {file_id(path), number[0] if number else file_id(path)}:
            found.setdefault(key, []).append(path)
    return found


def _named(pair: Pair, by_name: dict[str, list[Path]]) -> list[Path]:
    number = _ISIC_NUMBER.search(pair.id)
    return by_name.get(pair.id.lower()) or by_name.get(number[0] if number else "", [])


def _prediction(pair: Pair, by_name: dict[str, list[Path]], folder: Path) -> Path:
    found = _named(pair, by_name)
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        raise LesionsegError(f"{pair.id}: expected one mask in {folder}, found {names or 'none'}")
    return found[0]


def _score(
    name: str, prediction: Mask, truth: Mask, quality: float | None, outlines: bool
) -> PhotoScore:
    drawn = outline(prediction) if outlines else ""
    counts = confusion(prediction, truth)
    return PhotoScore(name, counts, truth.shape[0], truth.shape[1], quality, drawn)


def _collect(scored: Scored, result: tuple[PhotoScore, bool] | LesionsegError) -> None:
    if isinstance(result, LesionsegError):
        scored.skipped.append(str(result))
    else:
        scored.scores.append(result[0])
        scored.zero_one += result[1]
