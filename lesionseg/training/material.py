"""What a network is trained and validated on: the photos of a data set, prepared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesionseg import distributed
from lesionseg.data.cache import CachedPairs, cache_pairs
from lesionseg.data.check import mask_notes
from lesionseg.data.duplicates import find_duplicates
from lesionseg.data.filenames import fold
from lesionseg.data.pairs import list_unlabelled
from lesionseg.data.source import Source
from lesionseg.errors import LesionsegError, counted
from lesionseg.network.provenance import TrainingData


@dataclass(frozen=True)
class Material:
    """A data set ready for training.

    Attributes:
        training, validation: its parts, at the network's size.
        problems: one line for each file that was left out.
        data: what a checkpoint will say of it.
        split_source: where the split comes from, see `discovery.Dataset`.
        notes: what a reader must know of the split.
    """

    training: CachedPairs
    validation: CachedPairs
    problems: tuple[str, ...]
    data: TrainingData
    split_source: str = ""
    notes: tuple[str, ...] = ()


def gather(
    source: Source, size: int, workers: int, on_photo: Callable[[int, int], None]
) -> Material:
    """Find the pairs, split them and prepare both parts at `size` x `size` pixels.

    Raises:
        LesionsegError: see `discovery.find` and `cache.cache_pairs`.
    """
    dataset = source.find()
    first, second = dataset.split("train"), dataset.split("val")
    labelled = {pair.id for pair in dataset.split("all")}
    notes = [*dataset.notes]
    if source.unlabelled:
        extra = list_unlabelled(source.unlabelled)
        known = set(map(fold, labelled))
        added = [photo for photo in extra if fold(photo.id) not in known]
        first = (*first, *added)
        notes += _unlabelled_notes(source.unlabelled, len(extra), len(added))
    total = len(first) + len(second)
    if distributed.local_rank() > 0:  # on each host one process prepares, the others only map
        distributed.barrier()
    training = cache_pairs(first, size, workers, lambda done, _: on_photo(done, total))
    validation = cache_pairs(
        second, size, workers, lambda done, _: on_photo(len(first) + done, total)
    )
    if distributed.local_rank() == 0:
        distributed.barrier()
    about = dataset.description
    folders = (source.folder, source.truth, source.groups_file, source.unlabelled)
    folder, truth, groups_file, unlabelled = (
        str(path.absolute()) if path else "" for path in folders
    )
    photos = [str(path.absolute()) for path in source.photos]
    data = TrainingData(
        name=about.name if about else dataset.folder.absolute().name,
        folder=folder,
        photos_folder=photos[0] if photos else "",
        truth_folder=truth,
        synthetic=about.synthetic if about else False,
        licence=about.licence if about else "",
        train_ids=training.ids,
        val_ids=validation.ids,
        fingerprint=f"{training.fingerprint}-{validation.fingerprint}",
        groups_file=groups_file,
        fold=str(source.fold or ""),
        unlabelled_folder=unlabelled,
        more_photos_folders=tuple(photos[1:]),
        categories=tuple(sorted(source.categories or ())),
        lesion_colours=source.colours.colours,
        lesion_labels=source.colours.labels,
    )
    problems = (*dataset.problems, *training.problems, *validation.problems)
    notes += _duplicate_notes(training, validation)
    if distributed.rank() == 0:
        notes += mask_notes(labelled, training, validation)
    return Material(training, validation, problems, data, dataset.split_source, tuple(notes))


def _unlabelled_notes(folder: Path, count: int, added: int) -> list[str]:
    """Say how many of the `count` photos in a folder are added, and why others are left out.

    Raises:
        LesionsegError: none is added.
    """
    if not count:
        raise LesionsegError(f"{folder}: expected photos without masks, found none in this folder")
    if not added:
        raise LesionsegError(
            f"{folder}: every photo in it ({count}) has the name of one with a mask in the data; "
            "name a folder of others, or leave out --unlabelled"
        )
    notes = [
        f"{counted(added, 'photo')} without masks: only the teachers' masks are learned on these"
    ]
    if added < count:
        notes.append(
            f"{folder}: {counted(count - added, 'photo')} left out, with the name of a photo that "
            "has a mask in the data"
        )
    return notes


def _duplicate_notes(training: CachedPairs, validation: CachedPairs) -> list[str]:
    """Say which pictures are on both sides of the split, on one process."""
    duplicates = find_duplicates(training, validation) if distributed.rank() == 0 else []
    if not duplicates:
        return []
    some = ", ".join(f"{second} is {first}" for first, second in duplicates[:3])
    count = len({second for _, second in duplicates})
    return [
        f"{count} of {counted(len(validation), 'validation photo')} also in training, under "
        f"another name: {some}{', ...' * (len(duplicates) > 3)}; the scores on these will be too "
        "high"
    ]
