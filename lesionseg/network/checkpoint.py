"""Checkpoints that describe themselves: saved whole or not at all, loaded without running code."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lesionseg import files, store
from lesionseg.config import Kernels
from lesionseg.errors import CheckpointError, LesionsegError, one_line
from lesionseg.network import kernels as int8
from lesionseg.network.mean import AnyUNet, MeanUNet
from lesionseg.network.provenance import Parent, Provenance, fields_of
from lesionseg.network.runtime import advice_on_exported, checksum, is_exported
from lesionseg.network.unet import UNet
from lesionseg.version import __version__

FORMAT, VERSION = "lesionseg checkpoint", 2
_SCALE = ".scale"  # of int8 kernels, behind their name
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

    def network(self) -> AnyUNet:
        """Build the U-Net, or the mean of `members`, in evaluation mode, on the CPU."""
        network = _build(self)
        if network.config != self.model:
            raise CheckpointError("its model is not that of its largest member")
        _check_weights(self.weights, network.state_dict())
        network.to_empty(device="cpu").load_state_dict(self.weights)
        return network.eval()

    def as_parent(self, path: Path) -> Parent:
        """Return what a network that comes from this one keeps of it; it was read from `path`."""
        file = store.bundled_name(path) or str(path.absolute())
        return Parent(file, checksum(path), self.data, self.parent, self.teachers)


def save(checkpoint: Checkpoint, path: Path, kernels: Kernels = "float32") -> None:
    """Write the checkpoint under its final name once it is whole.

    Args:
        checkpoint: what to write.
        path: where.
        kernels: as they are, or rounded to a quarter of the size; see `kernels`.

    Raises:
        LesionsegError: it cannot be written.
    """
    fields = {
        **checkpoint.plain(),
        "weights": _in_int8(checkpoint) if kernels == "int8" else checkpoint.weights,
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


def load_network(path: Path) -> tuple[Checkpoint, AnyUNet]:
    """Read a checkpoint and build its network; no code in it is run (`weights_only`).

    Raises:
        CheckpointError: not there, foreign, damaged, or of a later format.
    """
    if is_exported(path) and path.is_file():
        raise CheckpointError(
            f"{path}: an exported network, not a lesionseg checkpoint, so it cannot be trained or "
            f"exported again; {advice_on_exported(path)}"
        )
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    with file:
        try:
            _check_archive(file)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names no closed list of what a damaged file may raise
            raise CheckpointError(
                f"{path}: not a lesionseg checkpoint, or damaged; name another, such as 'bundled'"
            ) from error
    name = content.get("format") if isinstance(content, dict) else None
    if not isinstance(name, str) or name != FORMAT:
        raise CheckpointError(
            f"{path}: not a lesionseg checkpoint (expected format {FORMAT!r}); name another"
        )
    version = content.get("format_version")
    if not isinstance(version, int | None):
        raise CheckpointError(f"{path}: a damaged checkpoint: its format version is not a number")
    if version not in READABLE:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this lesionseg ({__version__}) reads up to "
            f"{VERSION}; update lesionseg: 'git pull', then 'pip install .' in its checkout"
        )
    try:
        fields = {name: value for name, value in content.items() if not name.startswith("format")}
        if not isinstance(fields.get("training"), dict | None):
            raise CheckpointError("the state of its training is not one")
        fields["weights"] = _in_float(fields["weights"])
        checkpoint = Checkpoint(**fields_of(fields))
        return checkpoint, checkpoint.network()
    except (
        *(LesionsegError, LookupError, TypeError, ValueError),
        *(AttributeError, ArithmeticError, RuntimeError),
    ) as error:
        raise CheckpointError(
            f"{path}: a damaged checkpoint: {_fault_of(error)}; name another, such as 'bundled'"
        ) from error


def _fault_of(error: Exception) -> str:
    """Say in plain words what is wrong with a checkpoint, without the text of Python's errors."""
    if isinstance(error, KeyError):
        return f"{one_line(error)[:200]} is missing"
    if isinstance(error, LesionsegError):
        return one_line(error)[:200]
    return "a part of it is not what it should be"


def _in_int8(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights with large kernels in int8, and a scale for each of their channels."""
    weights = dict(checkpoint.weights)
    for layer, module in _build(checkpoint).named_modules():
        name = f"{layer}.weight"
        axis = int8.OUTPUT_AXIS.get(type(module).__name__.removesuffix("2d"))
        if axis is None or weights[name].numel() < int8.SMALL:
            continue
        values, scale = int8.quantise(weights[name].float().numpy(), axis)
        scale = scale.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
        weights |= {name: torch.from_numpy(values), name + _SCALE: torch.from_numpy(scale)}
    return weights


def _in_float(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `_in_int8`.

    Raises:
        CheckpointError: a scale does not fit its kernel.
    """
    restored = dict(weights)
    for name in [name for name in restored if name.endswith(_SCALE)]:
        scale, kernel = restored.pop(name), name.removesuffix(_SCALE)
        sides = list(zip(scale.shape, restored[kernel].shape, strict=True))
        channels = max(scale.shape)
        if scale.dtype != torch.float32 or not bool((scale > 0).all()):
            raise CheckpointError(f"{name}: expected numbers above 0")
        if scale.numel() != channels or (channels, channels) not in sides:
            raise CheckpointError(f"{name}: {tuple(scale.shape)} does not fit its kernel")
        restored[kernel] = restored[kernel].float() * scale
    return restored


def _check_archive(file: BinaryIO) -> None:
    """Check a checkpoint's file before anything in it is read into memory.

    torch stores every part as it is, so that together they are no larger than the file; a part
    that is compressed could be of any size. torch compares no checksums.

    Raises:
        ValueError, zipfile.BadZipFile and more: not such a file, or damaged.
    """
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    size = os.fstat(file.fileno()).st_size
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("compressed")
    if sum(part.file_size for part in parts) > size:
        raise ValueError(f"parts of more than the {size} bytes of the file")
    if damaged := archive.testzip():
        raise ValueError(f"{damaged} is damaged")


class _Uninitialised(TorchFunctionMode):
    """Leave out random starting values, for which torch's meta device imports packages (1.5 s)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def _build(described: Provenance) -> AnyUNet:
    """Build the network on the meta device: shapes alone, no memory and no starting values."""
    with torch.device("meta"), _Uninitialised():
        if not described.members:
            return UNet(described.model)
        return MeanUNet([_build(member) for member in described.members])


def _check_weights(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check that weights fit a network before memory is taken for it, and can be those of one.

    Raises:
        CheckpointError: they do not.
    """
    if missing := expected.keys() - weights.keys():
        raise CheckpointError(f"weights without {min(missing)}")
    for name, value in weights.items():
        if name not in expected or not isinstance(value, Tensor):
            raise CheckpointError(f"unexpected weights {name!r}")
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{name}: expected weights of {tuple(expected[name].shape)}, "
                f"got {tuple(value.shape)}"
            )
        if value.is_floating_point() != expected[name].is_floating_point():
            raise CheckpointError(f"{name}: weights of {value.dtype}")
        if not value.isfinite().all():
            raise CheckpointError(f"{name}: weights that are infinite or not numbers")
        if value.ndim == 4 and name.endswith("weight") and not value.any():
            raise CheckpointError(f"{name}: weights that are all zero")
