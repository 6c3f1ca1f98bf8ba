"""Evaluations to be handed on: numbers for the photos' names, nothing that names a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lesionseg import store
from lesionseg.data.catalog import NAMES
from lesionseg.evaluation.report import Evaluation

_WITHHELD = "left out: names are withheld"
_PATHS = ("file", "command")  # of a checkpoint: where it lies, and how it was typed


def anonymous(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], dict[str, str]]:
    """The same evaluations without names, and the number that stands for each photo's id.

    Photos are numbered from the lowest Jaccard of the first evaluation up, so that their order by
    name is not told, and who has the named scores finds them. The evaluations are called by
    letters, but for the bundled weights. Folders, checkpoint files and commands are left out; the
    name of a data set stays where it is public. What a photo itself shows stays, and so do its
    scores, by which someone with the same photos may know it again.
    """
    ranked = [score.id for each in evaluations for score in each.worst(len(each.scores))]
    order = list(dict.fromkeys(ranked))
    digits = len(str(len(order)))
    numbers = {name: f"{number:0{digits}}" for number, name in enumerate(order, start=1)}
    return [_without_names(each, numbers, index) for index, each in enumerate(evaluations)], numbers


def _without_names(evaluation: Evaluation, numbers: Mapping[str, str], index: int) -> Evaluation:
    checkpoint = evaluation.checkpoint
    bundled = checkpoint is not None and checkpoint.get("file") == str(store.BUNDLED_FILE)
    if checkpoint is not None:
        checkpoint = {
            **{name: None if name in _PATHS else value for name, value in checkpoint.items()},
            "trained_on": _public(checkpoint.get("trained_on")),
        }
    data = {**evaluation.data, "folder": None, "name": _public(evaluation.data.get("name"))}
    return replace(
        evaluation,
        scores=[replace(score, id=numbers[score.id]) for score in evaluation.scores],
        skipped=[_WITHHELD] * len(evaluation.skipped),
        left_out=[_WITHHELD] * len(evaluation.left_out),
        checkpoint=checkpoint,
        data=data,
        command="lesionseg eval --anonymous",
        name=store.BUNDLED if bundled else _letters(index),
    )


def _public(name: object) -> object:
    return name if name in NAMES else "a data set"


def _letters(index: int) -> str:
    """A, B ... Z, AA, AB ... as columns of a spreadsheet."""
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
