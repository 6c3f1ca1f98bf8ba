"""Checkpoints that describe themselves: saved whole or not at all, loaded without running code."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lesionseg import files
from lesionseg.errors import CheckpointError, LesionsegError, one_line
from lesionseg.network.provenance import Provenance, fields_of
from lesionseg.network.unet import UNet
from lesionseg.version import __version__

FORMAT, VERSION = "lesionseg checkpoint", 2
READABLE = (1, 2)  # 1: by version 0.1.0; see `provenance` for what has other names there


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Provenance):
    """A network's weights, and where they come from.

    Attributes:
        weights: the network's state dict, on the CPU.
        training: what a resumed run needs besides (see `TrainingState`); None in a checkpoint for
            inference alone.
    """

    weights: dict[str, Tensor]
    training: dict[str, Any] | None = None

    def network(self) -> UNet:
        """Build the U-Net with these weights, in evaluation mode, on the CPU."""
        network = UNet(self.model)
        network.load_state_dict(self.weights)
        return network.eval()


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint under its final name once it is whole.

    Raises:
        LesionsegError: it cannot be written.
    """
    fields = {
        **checkpoint.plain(),
        "weights": checkpoint.weights,
        "training": checkpoint.training,
    }
    with files.atomic_write(path) as temporary:
        try:
            with temporary.open("wb") as file:  # given a path, torch writes its name inside
                torch.save({"format": FORMAT, "format_version": VERSION, **fields}, file)
        except RuntimeError as error:  # how torch reports a full disk
            reason = getattr(error.__context__, "strerror", None) or one_line(error)
            raise LesionsegError(f"cannot write {path}: {reason}") from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; see `load_network`."""
    return load_network(path)[0]


def load_network(path: Path) -> tuple[Checkpoint, UNet]:
    """Read a checkpoint and build its network; no code in it is run (`weights_only`).

    Raises:
        CheckpointError: not there, foreign, damaged, or of a later format.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    with file:
        try:
            if damaged := zipfile.ZipFile(file).testzip():  # torch compares no checksums
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names no closed list of what a damaged file may raise
            raise CheckpointError(
                f"{path}: not a lesionseg checkpoint, or damaged; name another, such as "
                "--checkpoint bundled"
            ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a lesionseg checkpoint (expected format {FORMAT!r}); name another"
        )
    version = content.get("format_version")
    if version not in READABLE:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this lesionseg ({__version__}) reads up to "
            f"{VERSION}; update lesionseg: 'git pull', then 'pip install .' in its checkout"
        )
    try:
        fields = {name: value for name, value in content.items() if not name.startswith("format")}
        checkpoint = Checkpoint(**fields_of(fields))
        return checkpoint, checkpoint.network()
    except (LesionsegError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: a damaged checkpoint: {one_line(error)[:200]}") from error
