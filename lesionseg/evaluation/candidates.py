"""Candidates: the networks and the folders of finished masks that are scored on the same photos."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePath

from lesionseg import distributed, store
from lesionseg.data.discovery import Dataset
from lesionseg.data.filenames import fold
from lesionseg.data.pairs import Pair
from lesionseg.data.splits import FOLDS
from lesionseg.errors import LesionsegError, counted
from lesionseg.evaluation import calibration, scoring
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, EarlierCheckpoint, Evaluation
from lesionseg.evaluation.scoring import ScoringResult
from lesionseg.metrics import Confusion
from lesionseg.network.provenance import Parent, Provenance
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.version import __version__

OUT_OF_FOLD = "out-of-fold"
_ENOUGH = 3  # photos of which most may hint at something
_FULL, _OPPOSITE = 0.99, 0.8  # shares of a photo's pixels


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
    paths = [_paths(predictor) for predictor in predictors]
    names = iter(short_names([path for group in paths for path in group]))
    return [
        Candidate(" + ".join(itertools.islice(names, len(group))), predictor)
        for group, predictor in zip(paths, predictors, strict=True)
    ]


def _paths(predictor: Segmenter | Path) -> list[Path]:
    if isinstance(predictor, Path):
        return [predictor.absolute()]
    paths = predictor.paths or (store.BUNDLED_FILE,)
    return [Path(store.bundled_name(path) or path.absolute()) for path in paths]


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


def default_split(dataset: Dataset, *networks: Provenance | None) -> str:
    """Return the split to score by default: "val" where one is set apart, else "all".

    A split made here, by hash, counts only where a network was trained on the rest of it.
    """
    if "val" not in dataset.pairs:
        return "all"

    def is_set_apart(network: Provenance) -> bool:
        ids = network.trained_ids()
        known, seen = (_overlap(dataset.split(split), ids) for split in ("all", "val"))
        return known > 0 and seen == 0

    if dataset.split_source != "seeded" or any(is_set_apart(item) for item in networks if item):
        return "val"
    return "all"


def _overlap(pairs: Sequence[Pair], ids: Collection[str]) -> int:
    """Count the photos whose id is among these."""
    folded = {fold(photo) for photo in ids}
    return sum(fold(pair.id) in folded for pair in pairs)


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
        batch_size, workers, masks, outlines: as for `scoring.evaluate`.
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


def assign_folds(
    networks: Sequence[Provenance], pairs: Sequence[Pair]
) -> tuple[list[list[Pair]], list[str]]:
    """Assign to each network the photos that it held out, which the others were trained on.

    Args:
        networks: of runs with `--fold 1/N` to `--fold N/N`, in any order.
        pairs: the photos that the folds are made of.

    Returns:
        The pairs of each network, and a line for each pair that none of them held out.

    Raises:
        LesionsegError: they are not the folds of one set, or each of them, or of those that it
            started from, was trained on the same photo.
    """
    folds = [network.data.fold for network in networks]
    counts = {fold.partition("/")[2] for fold in folds}
    expected = [f"{number}/{len(folds)}" for number in range(1, len(folds) + 1)]
    if len(folds) < 2 or "" in folds or len(counts) > 1 or sorted(folds) != sorted(expected):
        got = ", ".join(fold or "none" for fold in folds)
        raise LesionsegError(
            f"expected a checkpoint of each fold, 1/N to N/N, got folds: {got}; give one run of "
            "each with --checkpoint"
        )
    trained = [frozenset(map(fold, network.trained_ids())) for network in networks]
    held_out = [{fold(photo) for photo in network.data.val_ids} for network in networks]
    everyone = frozenset.intersection(*trained)
    if seen := [pair.id for pair in pairs if fold(pair.id) in everyone]:
        raise LesionsegError(
            f"{len(seen)} of {counted(len(pairs), 'photo')}, such as {seen[0]}, were seen in "
            "training by all networks, or by those that they started from: there is no "
            "out-of-fold score"
        )
    parts: list[list[Pair]] = [[] for _ in networks]
    unknown = []
    for pair in pairs:
        key = fold(pair.id)
        owners = [index for index, ids in enumerate(held_out) if key in ids]
        if len(owners) > 1 or any(key in trained[index] for index in owners):
            raise LesionsegError(
                f"{pair.id}: held out by {counted(len(owners), 'fold')}, or trained on by the one "
                "that held it out; the folds were not made of the same photos: train them again"
            )
        if owners:
            parts[owners[0]].append(pair)
        else:
            unknown.append(f"{pair.photo}: held out by no fold")
    if not any(parts):
        raise LesionsegError(
            "none of these photos was held out by a fold; give the data of the folds with --data"
        )
    return parts, unknown


def evaluate_out_of_fold(
    segmenters: Sequence[Segmenter],
    dataset: Dataset,
    *,
    command: str,
    batch_size: int,
    workers: int,
    masks: Path | None = None,
    outlines: bool = False,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score each photo by the network that held it out, as one evaluation.

    Args:
        segmenters: the networks of all folds; see `assign_folds`.
        dataset: photos and truth masks, those for testing left aside.
        command, batch_size, workers, masks, outlines, on_photo: as for `evaluate`.

    Raises:
        LesionsegError: as `assign_folds` and `scoring.evaluate`.
    """
    pairs = sorted(pair for name in ("train", "val") for pair in dataset.pairs.get(name, ()))
    parts, unknown = assign_folds([segmenter.checkpoint for segmenter in segmenters], pairs)
    total, done = sum(map(len, parts)), 0
    results = []
    for segmenter, part in zip(segmenters, parts, strict=True):
        share = part[distributed.rank() :: distributed.world_size()]
        result = scoring.evaluate(
            segmenter,
            share,
            batch_size=batch_size,
            workers=workers,
            masks=masks,
            outlines=outlines,
            on_photo=lambda count, _, done=done: on_photo(done + count, total),  # type: ignore[misc]
        )
        done += len(part)
        results += distributed.all_gather(result)
    scored = sorted(pair for part in parts for pair in part)
    folds = replace(
        dataset,
        pairs={OUT_OF_FOLD: tuple(scored)},
        problems=(*dataset.problems, *unknown),
        split_source=FOLDS,
    )
    candidate = Candidate(OUT_OF_FOLD, segmenters[0])
    evaluation = build_evaluation(
        scoring.merge(results), candidate, folds, OUT_OF_FOLD, command, trained_on=()
    )
    note = f"each photo was scored by the one of {len(segmenters)} networks that held it out"
    checkpoint = evaluation.checkpoint and replace(evaluation.checkpoint, file=None)
    return replace(evaluation, checkpoint=checkpoint, notes=[note, *evaluation.notes])


def build_evaluation(
    result: ScoringResult,
    candidate: Candidate,
    dataset: Dataset,
    split: str,
    command: str,
    trained_on: Collection[str] | None = None,
) -> Evaluation:
    """Join the scores with what they are of, and what a reader must know before quoting them.

    `trained_on` are the ids of the photos that the network has seen; by default, it says them.
    """
    segmenter, description = candidate.segmenter, dataset.description
    if trained_on is None:
        trained_on = segmenter.checkpoint.trained_ids() if segmenter else ()
    return Evaluation(
        scores=result.scores,
        skipped=result.skipped,
        left_out=list(dataset.problems),
        checkpoint=_checkpoint_info(segmenter.checkpoint, segmenter.paths) if segmenter else None,
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
        notes=_notes(result, segmenter, dataset, split, trained_on),
        name=candidate.name,
        calibration=calibration.summarise(result.counts),
    )


def _notes(
    result: ScoringResult,
    segmenter: Segmenter | None,
    dataset: Dataset,
    split: str,
    trained_on: Collection[str],
) -> list[str]:
    pairs, description = dataset.split(split), dataset.description
    synthetic = bool(description and description.synthetic)
    notes = []
    if result.skipped:
        notes.append(f"{len(result.skipped)} of {counted(len(pairs), 'photo')} could not be scored")
    if synthetic:
        notes.append("these images are synthetic, generated by lesionseg; they are not photos")
    if description and description.shrunk:
        notes.append(
            "photos and truth masks were shrunk to a shorter side of "
            f"{counted(description.shrunk, 'pixel')}: not comparable with scores at full size"
        )
    if segmenter and len(segmenter.paths) > 1:
        notes.append(f"masks of the mean of {len(segmenter.paths)} networks' probabilities")
    if segmenter and (seen := _overlap(pairs, trained_on)):
        notes.append(
            f"{_trained(segmenter.checkpoint, pairs)} trained on {seen} of "
            f"{counted(len(pairs), 'photo')} scored here"
        )
    if segmenter and segmenter.checkpoint.data.synthetic and not synthetic:
        notes.append("the network was trained on synthetic images only")
    if result.zero_one:
        notes.append(
            f"masks of 0/1, read as 0/255: {result.zero_one}; "
            "the challenge's own scorer reads such a mask as empty"
        )
    if result.one_colour:
        notes.append(
            f"{result.one_colour} of {counted(len(pairs), 'photo')} of one colour, so that the "
            "mask means nothing; 'lesionseg check' lists them"
        )
    return [*notes, *_suspicions([score.confusion for score in result.scores])]


def _trained(network: Provenance, pairs: Sequence[Pair]) -> str:
    """Say which were trained on these photos: the network, one it started from, its teachers."""
    networks = (network, *network.members)
    parents = [member.parent for member in networks if member.parent]
    teachers = [teacher for member in networks for teacher in member.teachers]
    own = _overlap(pairs, {id for member in networks for id in member.data.train_ids})
    parent = _overlap(pairs, {id for parent in parents for id in parent.trained_ids()})
    taught = _overlap(pairs, {id for teacher in teachers for id in teacher.trained_ids()})
    clauses = []
    if own:
        clauses.append("was")
    if parent:
        clauses.append("started from one that was")
    if taught:
        clauses.append("learned from a teacher that was")
    if len(clauses) == 1:
        return f"the network {clauses[0]}"
    return f"the network {clauses[0]}, or {' or '.join(clauses[1:])},"


def _pixels(score: Confusion) -> int:
    return sum(astuple(score))


def _suspicions(scores: Sequence[Confusion]) -> list[str]:
    """List what in the scores of three or more photos hints at a mistake with the files."""
    count = len(scores)
    if count < _ENOUGH:
        return []
    truth = [(score.true_positive + score.false_negative) / _pixels(score) for score in scores]
    empty = sum(share == 0 for share in truth)
    full = sum(share > _FULL for share in truth)
    opposite = sum(
        score.false_positive + score.false_negative > _OPPOSITE * _pixels(score) for score in scores
    )
    large = sum(share > 0.5 for share in truth)
    notes = []
    if 2 * empty > count:
        notes.append(f"{empty} of {count} truth masks are empty: are these the right masks?")
    elif 2 * full > count:
        notes.append(
            f"{full} of {count} truth masks cover the whole photo: are these the right masks?"
        )
    elif 2 * opposite > count:
        notes.append(
            f"{opposite} of {count} masks are nearly the opposite of their truth masks: "
            "are some inverted, with the lesion black?"
        )
    elif 2 * large > count:
        notes.append(
            f"{large} of {count} truth masks cover more than half of the photo: "
            "are they inverted, with the lesion black?"
        )
    if all(score.true_positive == 0 for score in scores) and 2 * empty <= count:
        notes.append("no mask overlaps its truth mask: do the files belong together?")
    if (
        all(score.false_positive + score.false_negative == 0 for score in scores)
        and 2 * empty <= count
    ):
        notes.append(
            "every mask equals its truth mask to the pixel: are drafts scored against themselves?"
        )
    return notes


def _checkpoint_info(checkpoint: Provenance, paths: Sequence[Path]) -> CheckpointInfo:
    """Describe a network of one file, or the mean of the networks of one file or of several."""
    members = checkpoint.members
    files = paths if len(paths) == len(members) else [None] * len(members)
    return CheckpointInfo(
        file=str(paths[0]) if len(paths) == 1 else None,
        epoch=checkpoint.epoch,
        model=checkpoint.model,
        recipe=checkpoint.recipe,
        trained_on=checkpoint.data.name,
        training_photos=len(checkpoint.data.train_ids),
        version=checkpoint.version,
        command=checkpoint.command,
        commit=checkpoint.commit,
        parent=_earlier(checkpoint.parent) if checkpoint.parent else None,
        teachers=tuple(map(_earlier, checkpoint.teachers)),
        mean_of=tuple(
            _checkpoint_info(member, [file] if file else [])
            for member, file in zip(members, files, strict=True)
        ),
    )


def _earlier(parent: Parent) -> EarlierCheckpoint:
    return EarlierCheckpoint(
        file=parent.file,
        trained_on=parent.data.name,
        training_photos=len(parent.data.train_ids),
    )
