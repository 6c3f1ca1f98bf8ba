"""Checkpoints that describe themselves: saved whole or not at all, loaded without running code."""

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lesionseg import __version__, store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.errors import LesionsegError, one_line
from lesionseg.model import UNet

FORMAT, VERSION = "lesionseg checkpoint", 1


@dataclass(frozen=True)
class TrainingData:
    """What a network was trained on.

    Attributes:
        name: of the set, or of its folder.
        folder, photos_folder, truth_folder: where it was found; "" where not given.
        drawn: whether the pictures were drawn by a program.
        licence: of the photos, "" where unknown.
        train_ids, val_ids: of the photos.
        fingerprint: of both parts' photos and masks.
    """

    name: str
    folder: str
    photos_folder: str
    truth_folder: str
    drawn: bool
    licence: str
    train_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Checkpoint:
    """A network and where it comes from.

    Attributes:
        model: the network's shape.
        recipe: how it is trained.
        data: what it is trained on.
        weights: the network's state dict, on the CPU.
        epoch: full epochs behind it.
        scores: means over the validation photos: dice, jaccard and more, and how many photos.
        version: of lesionseg.
        command: that made it, "" where unknown.
        commit: of lesionseg's source, "" where unknown.
        training: what a resumed run needs besides; None in a checkpoint that is only used.
    """

    model: ModelConfig
    recipe: Recipe
    data: TrainingData
    weights: dict[str, Tensor]
    epoch: int
    scores: dict[str, float]
    version: str = __version__
    command: str = ""
    commit: str = ""
    training: dict[str, Any] | None = None

    def network(self) -> UNet:
        """The U-Net with these weights, in evaluation mode, on the CPU."""
        network = UNet(self.model)
        network.load_state_dict(self.weights)
        return network.eval()


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint under its final name once it is whole.

    Raises:
        LesionsegError: it cannot be written.
    """
    fields = {
        field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)
    }
    for name in ("model", "recipe", "data"):
        fields[name] = dataclasses.asdict(fields[name])
    with store.replacing(path) as temporary:
        try:
            torch.save({"format": FORMAT, "format_version": VERSION, **fields}, temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise LesionsegError(f"cannot write {path}: {one_line(error)}") from error


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; no code in it is run (`weights_only`).

    Raises:
        LesionsegError: not there, foreign, damaged, or of a later format.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise LesionsegError(f"cannot read checkpoint {path}: {error.strerror}") from error
    with file:
        try:
            if damaged := zipfile.ZipFile(file).testzip():  # torch compares no checksums
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names no closed list of what a damaged file may raise
            raise LesionsegError(
                f"{path}: not a lesionseg checkpoint, or damaged; name another, such as "
                "--checkpoint bundled"
            ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LesionsegError(
            f"{path}: not a lesionseg checkpoint (expected format {FORMAT!r}); name another"
        )
    version = content.get("format_version")
    if version != VERSION:
        raise LesionsegError(
            f"{path}: checkpoint format {version}, this lesionseg ({__version__}) reads {VERSION}; "
            "update lesionseg with 'pip install --upgrade lesionseg'"
        )
    try:
        fields = {name: value for name, value in content.items() if not name.startswith("format")}
        fields["model"] = ModelConfig(**fields["model"])
        fields["recipe"] = Recipe(**fields["recipe"])
        fields["data"] = TrainingData(**fields["data"])
        checkpoint = Checkpoint(**fields)
        checkpoint.network()  # names and shapes fit; on "meta" torch would import for a second
    except (LesionsegError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise LesionsegError(f"{path}: a damaged checkpoint: {one_line(error)[:200]}") from error
    return checkpoint
