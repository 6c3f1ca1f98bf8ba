"""Evaluations to be handed on: numbers for the photos' names, nothing that names a folder.

Every value is built anew from the fields named here, so that a field added elsewhere is left out
until someone decides that it names nobody.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lesionseg import store
from lesionseg.data.catalog import NAMES
from lesionseg.evaluation.report import CheckpointInfo, DataInfo, EarlierCheckpoint, Evaluation
from lesionseg.metrics import PhotoScore

_WITHHELD = "left out: names are withheld"
_SOME_SET = "a data set"


def hide_names(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], dict[str, str]]:
    """Return the evaluations without names, and the number that stands for each photo's id.

    Photos are numbered from the lowest Jaccard of the first evaluation up, so that the numbers do
    not give away their order by name; whoever has the scores with names can match them. The
    evaluations are called by letters, but for the bundled weights. Folders, checkpoint files and
    commands are left out; the name of a data set stays where it is public. The photos themselves
    stay, and so do their scores, by which someone with the same photos may recognise them: the
    result is de-identified, not anonymous.
    """
    ids = [score.id for evaluation in evaluations for score in evaluation.worst()]
    order = list(dict.fromkeys(ids))
    digits = len(str(len(order)))
    numbers = {photo: f"{number:0{digits}}" for number, photo in enumerate(order, start=1)}
    return [_evaluation(item, numbers, index) for index, item in enumerate(evaluations)], numbers


def _evaluation(evaluation: Evaluation, numbers: Mapping[str, str], index: int) -> Evaluation:
    checkpoint = evaluation.checkpoint
    file = checkpoint.file if checkpoint else None
    bundled = store.bundled_name(Path(file)) if file else None
    return Evaluation(
        scores=[_score(score, numbers[score.id]) for score in evaluation.scores],
        skipped=[_WITHHELD] * len(evaluation.skipped),
        checkpoint=_checkpoint(checkpoint) if checkpoint else None,
        data=_data(evaluation.data),
        command="lesionseg eval --hide-names",
        version=evaluation.version,
        threshold=evaluation.threshold,
        all_regions=evaluation.all_regions,
        notes=list(evaluation.notes),
        left_out=[_WITHHELD] * len(evaluation.left_out),
        name=bundled or _letters(index),
        calibration=evaluation.calibration,  # sums over all photos
    )


def _score(score: PhotoScore, number: str) -> PhotoScore:
    return PhotoScore(
        id=number,
        confusion=score.confusion,
        height=score.height,
        width=score.width,
        quality=score.quality,
        outline=score.outline,
    )


def _checkpoint(checkpoint: CheckpointInfo) -> CheckpointInfo:
    return CheckpointInfo(
        file=None,
        epoch=checkpoint.epoch,
        model=checkpoint.model,  # numbers and words of a fixed list, as a test sees to
        recipe=checkpoint.recipe,  # the same
        trained_on=_public_names(checkpoint.trained_on),
        training_photos=checkpoint.training_photos,
        version=checkpoint.version,
        command=None,
        commit=checkpoint.commit,
        parent=_earlier(checkpoint.parent) if checkpoint.parent else None,
        teachers=tuple(map(_earlier, checkpoint.teachers)),
        mean_of=tuple(map(_checkpoint, checkpoint.mean_of)),
    )


def _earlier(checkpoint: EarlierCheckpoint) -> EarlierCheckpoint:
    return EarlierCheckpoint(
        file=checkpoint.file if checkpoint.file in store.BUNDLED_FILES else None,
        trained_on=_public_names(checkpoint.trained_on),
        training_photos=checkpoint.training_photos,
    )


def _data(data: DataInfo) -> DataInfo:
    return DataInfo(
        name=_public(data.name),
        folder=None,
        split=data.split,
        split_source=data.split_source,
        drawn=data.drawn,
        shrunk=data.shrunk,
    )


def _public(name: str) -> str:
    return name if name in NAMES else _SOME_SET


def _public_names(names: str) -> str:
    """The names of sets that several networks were trained on."""
    return " + ".join(map(_public, names.split(" + ")))


def _letters(index: int) -> str:
    """Return a number in letters, A, B ... Z, AA, AB ..., as spreadsheets name columns."""
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
