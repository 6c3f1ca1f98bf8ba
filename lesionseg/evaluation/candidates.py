"""Candidates: the networks and the folders of finished masks that are scored on the same photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lesionseg import distributed, store
from lesionseg.data.discovery import Dataset
from lesionseg.data.filenames import fold
from lesionseg.data.pairs import Pair
from lesionseg.evaluation import scoring
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, Evaluation
from lesionseg.evaluation.scoring import ScoringResult
from lesionseg.network.provenance import TrainingData
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.version import __version__


@dataclass(frozen=True)
class Candidate:
    """A network, or a folder of finished masks, and what a reader calls it."""

    name: str
    predictor: Segmenter | Path

    @property
    def segmenter(self) -> Segmenter | None:
        """The network; None for a folder of masks."""
        return None if isinstance(self.predictor, Path) else self.predictor


def list_candidates(segmenters: Sequence[Segmenter], folders: Sequence[Path]) -> list[Candidate]:
    """Name the networks, then the folders of masks, each as briefly as distinguishes it."""
    predictors: list[Segmenter | Path] = [*segmenters, *folders]
    names = short_names([_path(predictor) for predictor in predictors])
    return [Candidate(name, item) for name, item in zip(names, predictors, strict=True)]


def _path(predictor: Segmenter | Path) -> Path:
    if isinstance(predictor, Path):
        return predictor.absolute()
    if predictor.path is None or predictor.path == store.BUNDLED_FILE:
        return Path(store.BUNDLED)
    return predictor.path.absolute()


def short_names(paths: Sequence[PurePath]) -> list[str]:
    """Return the shortest ends of the paths that distinguish them; equal paths are numbered.

    A file `best.pt` goes by its run: `runs/a/best.pt` is `a`.
    """
    paths = [path.parent if path.name == "best.pt" and path.parent.name else path for path in paths]
    names: list[str] = []
    for index, path in enumerate(paths):
        others = [other.parts for other in paths if other != path]
        lengths = range(1, len(path.parts) + 1)
        unique = (n for n in lengths if all(other[-n:] != path.parts[-n:] for other in others))
        name = PurePath(*path.parts[-next(unique, len(path.parts)) :]).as_posix()
        repeats = paths[:index].count(path)
        names.append(f"{name} ({repeats + 1})" if repeats else name)
    return names


def default_split(dataset: Dataset, *training: TrainingData | None) -> str:
    """Return the split to score by default: "val" where one is set apart, else "all".

    A split made here, by hash, counts only where a network was trained on the rest of it.
    """
    if "val" not in dataset.pairs:
        return "all"

    def is_set_apart(data: TrainingData) -> bool:
        known, seen = (_overlap(dataset.split(split), data) for split in ("all", "val"))
        return known > 0 and seen == 0

    if dataset.split_source != "seeded" or any(is_set_apart(data) for data in training if data):
        return "val"
    return "all"


def _overlap(pairs: Sequence[Pair], training: TrainingData) -> int:
    """Count the photos that a network was trained on, by id."""
    ids = {fold(photo) for photo in training.train_ids}
    return sum(fold(pair.id) in ids for pair in pairs)


def evaluate(
    candidate: Candidate,
    dataset: Dataset,
    split: str,
    *,
    command: str,
    batch_size: int,
    workers: int,
    masks: Path | None = None,
    outlines: bool = False,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a candidate on a split, whose photos are shared among the processes.

    Args:
        candidate: what is scored.
        dataset, split: the photos and truth masks.
        command: that asked for it, for the report.
        batch_size, workers, masks, outlines: as of `scoring.evaluate`.
        on_photo: is called with how many photos of this process are done, and how many there are.

    Returns:
        The scores of all photos, the same in every process.

    Raises:
        LesionsegError: there is no such split, or as `scoring.evaluate` and `scoring.compare`.
    """
    share = dataset.split(split)[distributed.rank() :: distributed.world_size()]
    if isinstance(candidate.predictor, Path):
        result = scoring.compare(
            candidate.predictor, share, workers=workers, outlines=outlines, on_photo=on_photo
        )
    else:
        result = scoring.evaluate(
            candidate.predictor,
            share,
            batch_size=batch_size,
            workers=workers,
            masks=masks,
            outlines=outlines,
            on_photo=on_photo,
        )
    result = scoring.merge(distributed.all_gather(result))
    return build_evaluation(result, candidate, dataset, split, command)


def build_evaluation(
    result: ScoringResult, candidate: Candidate, dataset: Dataset, split: str, command: str
) -> Evaluation:
    """Join the scores with what they are of, and what a reader must know before quoting them."""
    segmenter, description = candidate.segmenter, dataset.description
    return Evaluation(
        scores=result.scores,
        skipped=result.skipped,
        left_out=list(dataset.problems),
        checkpoint=_checkpoint_info(segmenter) if segmenter else None,
        data=DataInfo(
            name=description.name if description else dataset.folder.absolute().name,
            folder=str(dataset.folder.absolute()),
            split=split,
            split_source=dataset.split_source,
            drawn=bool(description and description.synthetic),
            shrunk=description.shrunk if description else None,
        ),
        command=command,
        version=__version__,
        threshold=segmenter.threshold if segmenter else None,
        all_regions=segmenter.all_regions if segmenter else None,
        notes=_notes(result, segmenter, dataset, split),
        name=candidate.name,
    )


def _notes(
    result: ScoringResult, segmenter: Segmenter | None, dataset: Dataset, split: str
) -> list[str]:
    pairs, description = dataset.split(split), dataset.description
    synthetic = bool(description and description.synthetic)
    notes = []
    if result.skipped:
        notes.append(f"{len(result.skipped)} of {len(pairs)} photos could not be scored")
    if synthetic:
        notes.append("these pictures are synthetic, made by lesionseg; they are not photos")
    if description and description.shrunk:
        notes.append(
            f"photos and truth masks were shrunk to a shorter side of {description.shrunk} pixels: "
            "not comparable with scores at full size"
        )
    if segmenter and (seen := _overlap(pairs, segmenter.checkpoint.data)):
        notes.append(f"the network was trained on {seen} of these {len(pairs)} photos")
    if segmenter and segmenter.checkpoint.data.synthetic and not synthetic:
        notes.append("the network was trained on synthetic pictures only")
    if result.zero_one:
        notes.append(
            f"masks of 0/1, read as 0/255: {result.zero_one}; "
            "the challenge's own scorer reads such a mask as empty"
        )
    return notes


def _checkpoint_info(segmenter: Segmenter) -> CheckpointInfo:
    checkpoint = segmenter.checkpoint
    return CheckpointInfo(
        file=str(segmenter.path) if segmenter.path else None,
        epoch=checkpoint.epoch,
        model=checkpoint.model,
        recipe=checkpoint.recipe,
        trained_on=checkpoint.data.name,
        training_photos=len(checkpoint.data.train_ids),
        version=checkpoint.version,
        command=checkpoint.command,
        commit=checkpoint.commit,
    )
