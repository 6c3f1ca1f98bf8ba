"""What a trained network says of itself: its shape, its recipe, its data, its scores. No torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from lesionseg.config import ModelConfig, Recipe
from lesionseg.errors import LesionsegError
from lesionseg.version import __version__

if TYPE_CHECKING:
    from lesionseg.data.source import Source

# Checkpoints and exported networks of earlier versions hold names that have changed since.
_RENAMED_FIELDS = {"small_share": "low_res_fraction"}
_RENAMED_STEMS = {"half": "strided"}
_RETIRED_FIELDS = {"weight_decay", "average"}  # of recipes
_UNKNOWN = "(unknown)"  # of a command
DEFAULT_THRESHOLD = 0.5  # also of networks that do not say their own, as those of earlier versions


@dataclass(frozen=True)
class TrainingData:
    """What a network was trained on.

    Attributes:
        name: of the set, or of its folder.
        folder, photos_folder, truth_folder: where it was found; "" where not given.
        synthetic: whether the photos were made by a program.
        licence: of the photos, "" where unknown.
        train_ids, val_ids: of the photos.
        fingerprint: of both parts' photos and masks.
        groups_file: that said which photos belong together; "" where none was named.
        fold: which part was held out for validation, such as "1/5"; "" for an ordinary split.
        unlabelled_folder: where photos without masks were found; "" where there were none.
        more_photos_folders: where photos were found besides `photos_folder`.
        categories, lesion_colours, lesion_labels: what was chosen as the lesion in labels and in
            coloured masks; empty where nothing was chosen, or by an earlier version.
    """

    name: str
    folder: str
    photos_folder: str
    truth_folder: str
    synthetic: bool
    licence: str
    train_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    fingerprint: str
    groups_file: str = ""
    fold: str = ""
    unlabelled_folder: str = ""
    more_photos_folders: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    lesion_colours: tuple[str, ...] = ()
    lesion_labels: tuple[str, ...] = ()

    def source(self) -> "Source | None":
        """Say where these data were; None where that is not known, as of the bundled network's."""
        from lesionseg.data.colours import ColourChoice  # which a photo's way through ONNX spares
        from lesionseg.data.source import Source
        from lesionseg.data.splits import Fold

        folders = (self.folder, self.photos_folder, self.truth_folder)
        if not any(folders):
            return None
        folder, first, truth, groups_file, unlabelled = (
            Path(path) if path else None
            for path in (*folders, self.groups_file, self.unlabelled_folder)
        )
        photos = (first, *map(Path, self.more_photos_folders)) if first else ()
        fold = Fold.parse(self.fold) if self.fold else None
        categories = frozenset(self.categories) or None
        colours = ColourChoice(self.lesion_colours, self.lesion_labels)
        return Source(folder, photos, truth, groups_file, fold, categories, colours, unlabelled)


@dataclass(frozen=True)
class Parent:
    """A checkpoint that a run started from, or was taught by.

    Attributes:
        file: where it was, or the name of bundled weights.
        checksum: SHA-256 of the file, in hexadecimal.
        data: what it was trained on.
        parent: the checkpoint that it started from itself; None where its weights were drawn.
        teachers: the checkpoints that it was taught by itself.
    """

    file: str
    checksum: str
    data: TrainingData
    parent: "Parent | None" = None
    teachers: "tuple[Parent, ...]" = ()

    def trained_ids(self) -> set[str]:
        """Return the ids of all photos that it, an ancestor or a teacher was trained on."""
        return {*self.data.train_ids, *_earlier_ids(self)}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """A network and where it comes from.

    Attributes:
        model: the network's shape.
        recipe: how it is trained.
        data: what it is trained on.
        epoch: full epochs behind it.
        scores: means over the validation photos: dice, jaccard and more, and how many photos.
        version: of lesionseg.
        command: that made it, "" where unknown; of several networks see `joint_command`.
        commit: of lesionseg's source, "" where unknown.
        parent: the checkpoint that training started from; None where it started from scratch.
        teachers: the checkpoints whose mean masks it learned, beside those of its data.
        threshold: above which a probability is lesion unless the user says otherwise, 0 to 1.
        members: the networks whose probabilities it is the mean of; empty for a single network.
    """

    model: ModelConfig
    recipe: Recipe
    data: TrainingData
    epoch: int
    scores: dict[str, float]
    version: str = __version__
    command: str = ""
    commit: str = ""
    parent: Parent | None = None
    teachers: tuple[Parent, ...] = ()
    threshold: float = DEFAULT_THRESHOLD
    members: tuple["Provenance", ...] = ()

    def trained_ids(self) -> frozenset[str]:
        """Return the ids of all photos that it, members, ancestors or teachers were trained on."""
        own = frozenset(self.data.train_ids)
        return own.union(self.earlier_ids(), *(member.trained_ids() for member in self.members))

    def earlier_ids(self) -> set[str]:
        """Return the ids of the photos that its ancestors and teachers were trained on."""
        return _earlier_ids(self)

    def plain(self) -> dict[str, Any]:
        """Return these fields, and no others of a subclass, as values that JSON can hold."""
        names = [field.name for field in dataclasses.fields(Provenance)]
        fields = {name: getattr(self, name) for name in names}
        for name in ("model", "recipe", "data", "parent"):
            if fields[name] is not None:
                fields[name] = dataclasses.asdict(fields[name])
        fields["teachers"] = [dataclasses.asdict(teacher) for teacher in self.teachers]
        fields["members"] = [member.plain() for member in self.members]
        return fields


def joint_command(members: "Sequence[Provenance]") -> str:
    """Return the commands that made networks, each once, joined by " && "; "" where none is known.

    One that is not known among others is "(unknown)".
    """
    commands = dict.fromkeys(member.command or _UNKNOWN for member in members)
    return "" if set(commands) <= {_UNKNOWN} else " && ".join(commands)


def _earlier_ids(network: "Provenance | Parent") -> set[str]:
    before = filter(None, (network.parent, *network.teachers))
    return set[str]().union(*(parent.trained_ids() for parent in before))


def fields_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what `Provenance.plain` gave, and anything beside it, into the dataclass's arguments.

    Names of earlier versions become those of today, here and nowhere else; so does the command of
    several networks, which was that of the largest.

    Raises:
        LesionsegError, KeyError, TypeError: a value that does not fit.
    """
    model = dict(plain["model"])
    if "stem" in model:
        model["stem"] = _RENAMED_STEMS.get(model["stem"], model["stem"])
    recipe = {
        _RENAMED_FIELDS.get(name, name): value
        for name, value in plain["recipe"].items()
        if name not in _RETIRED_FIELDS
    }
    scores, epoch = plain["scores"], plain["epoch"]
    if not isinstance(scores, Mapping) or not all(_is_number(value) for value in scores.values()):
        raise LesionsegError("expected numbers as scores")
    texts = [plain.get(name, "") for name in ("version", "command", "commit")]
    if type(epoch) is not int or not all(isinstance(text, str) for text in texts):
        raise LesionsegError("expected an epoch and the version, command and commit as text")
    threshold = plain.get("threshold", DEFAULT_THRESHOLD)
    if not _is_number(threshold) or not 0 <= threshold <= 1:
        raise LesionsegError("expected a threshold of 0 to 1")
    members = tuple(Provenance(**fields_of(member)) for member in plain.get("members", ()))
    return {
        **plain,
        "command": joint_command(members) if members else plain.get("command", ""),
        "model": ModelConfig(**_checked(ModelConfig, model)),
        "recipe": Recipe(**_checked(Recipe, recipe)),
        "data": _training_data(plain["data"]),
        "parent": _parent(plain.get("parent")),
        "teachers": _teachers(plain),
        "members": members,
    }


def _training_data(plain: Mapping[str, Any]) -> TrainingData:
    data: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    if "drawn" in data:  # as lesionseg 0.1.0 wrote it
        data["synthetic"] = data.pop("drawn")
    return TrainingData(**_checked(TrainingData, data))


def _parent(plain: Mapping[str, Any] | None) -> Parent | None:
    if plain is None:
        return None
    data, parent = _training_data(plain["data"]), _parent(plain.get("parent"))
    return Parent(**{**plain, "data": data, "parent": parent, "teachers": _teachers(plain)})


def _teachers(plain: Mapping[str, Any]) -> tuple[Parent, ...]:
    return tuple(filter(None, map(_parent, plain.get("teachers", ()))))


def _checked(kind: type[ModelConfig | Recipe | TrainingData], values: dict[Any, Any]) -> Any:
    """Return the values of a dataclass's fields, or raise LesionsegError at one of another type."""
    types = get_type_hints(kind)
    for name, value in values.items():
        expected = types.get(name)
        if expected is float:
            fits = _is_number(value)
        elif get_origin(expected) is tuple:
            fits = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        elif expected in (int, bool, str):
            fits = type(value) is expected
        else:  # a choice, or no field of the class, which says so itself
            fits = isinstance(value, str | int | float | None)
        if not fits:
            raise LesionsegError(f"{name}: got an unexpected {type(value).__name__}")
    return values


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
