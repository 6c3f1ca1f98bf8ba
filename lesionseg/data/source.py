"""Where photos and masks are: what a user says of it, from the command line or from Python."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionseg.data import discovery
from lesionseg.data.catalog import find_data
from lesionseg.data.colours import ColourChoice, parse_colour
from lesionseg.data.discovery import Dataset
from lesionseg.data.splits import Fold
from lesionseg.errors import LesionsegError, UsageError
from lesionseg.labels.formats import Categories

PathLike = str | Path
Several = PathLike | Sequence[PathLike] | None  # one, some or none


@dataclass(frozen=True)
class Source:
    """Where photos and masks are, one folder or some of each; their split, and what the lesion is.

    Attributes:
        folder, photos, truth, groups_file, fold, categories, colours: as for `discovery.find`.
        unlabelled: a folder of photos without masks, to be trained on as well.
    """

    folder: Path | None
    photos: tuple[Path, ...] = ()
    truth: Path | None = None
    groups_file: Path | None = None
    fold: Fold | None = None
    categories: Categories = None
    colours: ColourChoice = ColourChoice()  # noqa: RUF009  immutable
    unlabelled: Path | None = None

    def find(self) -> Dataset:
        """Find the pairs there; see `discovery.find`."""
        return discovery.find(
            self.folder,
            self.photos,
            self.truth,
            self.groups_file,
            self.fold,
            self.categories,
            self.colours,
        )

    def moved_from(self, before: "Source") -> "Source":
        """Complete the new place of a data set with what was chosen at its old one.

        A file or folder that lay in the old place's folder is looked for in the new one's.
        """

        def moved(path: Path | None) -> Path | None:
            if path and before.folder and self.folder and path.is_relative_to(before.folder):
                return self.folder / path.relative_to(before.folder)
            return path

        return dataclasses.replace(
            self._with_choice_of(before),
            groups_file=self.groups_file or moved(before.groups_file),
            fold=self.fold or before.fold,
            unlabelled=self.unlabelled or moved(before.unlabelled),
        )

    def choosing_as(self, before: "Source | None") -> "Source":
        """Take what `before` has for the lesion, if it is the same place and nothing is chosen."""
        if before is None or self._places() != before._places():
            return self
        return self._with_choice_of(before)

    def _with_choice_of(self, before: "Source") -> "Source":
        if self.choice:
            return self
        return dataclasses.replace(self, categories=before.categories, colours=before.colours)

    @property
    def choice(self) -> str:
        """The options that say what the lesion is; "" where none do."""
        options = {
            "--category": sorted(self.categories or ()),
            "--lesion-colour": self.colours.colours,
            "--lesion-label": self.colours.labels,
        }
        return " ".join(f"{name} {value}" for name, values in options.items() for value in values)

    def _places(self) -> list[Path | None]:
        """Where it looks, by real paths."""
        return [path and path.resolve() for path in (self.folder, self.truth, *self.photos)]


def choose_source(
    data: PathLike | None = None,
    photos: Several = None,
    truth: PathLike | None = None,
    categories: Several = None,
    lesion_colours: Several = None,
    lesion_labels: Several = None,
    groups: PathLike | None = None,
    fold: str | None = None,
    unlabelled: PathLike | None = None,
    *,
    masks_alone: bool = False,
) -> Source | None:
    """Return where the user says that photos and masks are; None without a choice.

    Args:
        data: a folder, or the name of a downloaded set.
        photos, truth: folders of photos, and a folder or file of masks or labels, instead.
        categories, lesion_colours, lesion_labels: what the lesion is in labels, by name, and in
            coloured masks, as "#RRGGBB" and by name.
        groups: a CSV file of the photos that belong together.
        fold: the part to hold out, such as "1/5".
        unlabelled: a folder of photos without masks.
        masks_alone: whether `truth` may come without photos.

    Raises:
        UsageError: they do not go together, or one is not of its form.
        LesionsegError: no such data set.
    """
    folders = tuple(map(Path, several(photos)))
    if bool(folders) != (truth is not None) and not (masks_alone and not folders):
        raise UsageError("--photos and --truth must be given together")
    if data is not None and truth is not None:
        raise UsageError("give either --data, or --photos and --truth")
    resolved = [folder.resolve() for folder in folders]
    for folder in folders:
        if resolved.count(folder.resolve()) > 1:
            raise UsageError(f"--photos: {folder} was given twice")
    names = frozenset(name.strip().casefold() for name in several(categories)) or None
    colours = _colour_choice(several(lesion_colours), several(lesion_labels))
    is_named = data is not None or truth is not None
    if not is_named and names:
        raise UsageError("--category applies to labels; give them with --data or --truth")
    if not is_named and any(colours):
        raise UsageError(
            "--lesion-colour and --lesion-label apply to coloured masks; give these with "
            "--data or --truth"
        )
    part = Fold.parse(fold) if fold else None
    if not (is_named or groups or part or unlabelled):
        return None
    return Source(
        None if truth is not None else find_data(None if data is None else str(data)),
        folders,
        _path(truth),
        _path(groups),
        part,
        names,
        colours,
        _path(unlabelled),
    )


def _colour_choice(colours: Sequence[str], labels: Sequence[str]) -> ColourChoice:
    try:
        return ColourChoice(tuple(map(parse_colour, colours)), tuple(labels))
    except LesionsegError as error:
        raise UsageError(f"--lesion-{error}") from error


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def refuse_empty(**arguments: Several) -> None:
    """Refuse an empty list or text, which would count as no choice and give the default.

    Raises:
        UsageError: an argument is empty rather than None.
    """
    for name, values in arguments.items():
        if values is not None and (not several(values) or "" in several(values)):
            what = "an empty text" if several(values) else "an empty list"
            raise UsageError(f"{name}: expected one or more, got {what}; for the default, None")


def several(values: Several) -> tuple[str, ...]:
    """Return one value, some or none as texts."""
    if values is None:
        return ()
    return (str(values),) if isinstance(values, str | Path) else tuple(map(str, values))


def inherit(
    typed: Source | None, before: Source | None, *, moved: bool = False
) -> tuple[Source, tuple[str, ...]]:
    """Complete what the user chose with a checkpoint's own source, else with the downloaded set.

    Args:
        typed: what the user chose.
        before: the checkpoint's source.
        moved: whether `typed` must be the same data as `before`, in whichever place.

    Returns:
        The source, and a note on what counts as the lesion if that comes from the checkpoint.
    """
    if typed and before and moved:
        used = typed.moved_from(before)
    else:
        used = (typed.choosing_as(before) if typed else before) or Source(find_data())
    inherited = used.choice and not (typed and typed.choice)
    return used, (f"lesion: {used.choice}, as in training",) if inherited else ()
