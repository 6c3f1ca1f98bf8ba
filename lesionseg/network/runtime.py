"""Run a trained network: in ONNX Runtime on the CPU, in torch everywhere.

ONNX Runtime starts in a fraction of the time that importing torch takes, so it runs networks that
were exported; torch is the reference, and a test compares the two. Both take and return arrays.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lesionseg import store
from lesionseg.errors import CheckpointError, LesionsegError, one_line
from lesionseg.network.device import find_device, has_cuda, memory_format
from lesionseg.network.provenance import Provenance, fields_of

if TYPE_CHECKING:
    from lesionseg.network.mean import AnyUNet

CHECKPOINT, EXPORTED = ".pt", ".onnx"
INT8 = ".int8.onnx"  # with kernels in int8, see `kernels`
# Unless this is set before it is imported, ONNX Runtime sends Microsoft what runs where, and keeps
# an id for it in the user's cache folder (its Privacy.md; 1.32 does).
_ROUNDING = 1e-3  # of a probability
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
# Input and outputs of an exported network.
PHOTO, MASK, PROBABILITIES = "photo", "mask", "probabilities"
# Keys of its metadata; the last is the threshold of its masks, where it is not the checkpoint's.
METADATA, SOURCE = "lesionseg", "lesionseg_checkpoint_sha256"
MASK_THRESHOLD = "lesionseg_mask_threshold"

_OWN_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed: ?)?")
_SURE = 1e-4  # of a probability's distance to 0 or 1


class Network(Protocol):
    """Describe what a `Segmenter` needs of a network."""

    provenance: Provenance
    device: str
    batched: bool  # fastest with batches from one thread; else with single photos from several

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the probabilities of lesion.

        Args:
            photos: (B, size, size, 3) uint8, RGB, 0 to 255.

        Returns:
            (B, size, size) float32, 0 to 1; NaN for a photo that the network has no answer to.

        Raises:
            CheckpointError: the network is damaged.
        """


class TorchNetwork:
    """Run a U-Net in torch.

    Args:
        network: in evaluation mode.
        provenance: where it comes from.
        device: where it runs; by default CUDA when there is one, else the CPU.

    Raises:
        LesionsegError: no such device.
    """

    batched = True

    def __init__(
        self, network: "AnyUNet", provenance: Provenance, device: str | None = None
    ) -> None:
        self.provenance = provenance
        self._device = find_device(device)
        self._layout = memory_format(self._device)
        self._network = network.to(self._device).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.device = str(self._device)

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        return _checked(self._run(photos), "this network", self._run)

    def _run(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.from_numpy(photos).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            logits = self._network(batch.contiguous(memory_format=self._layout))
            probabilities: NDArray[np.float32] = logits.float().sigmoid().squeeze(1).cpu().numpy()
        return probabilities


class OnnxNetwork:
    """Run an exported network in ONNX Runtime, on the CPU.

    Args:
        path: the file that `lesionseg export` wrote.
        threads: that share the arithmetic of one call; 0 for one per core.
        fast_start: skip the graph optimisation, which makes each photo faster but the start 30 ms
            slower.

    Raises:
        CheckpointError: no such file, or not one that lesionseg exported.
    """

    device = "cpu (ONNX Runtime)"
    batched = False

    def __init__(self, path: Path, threads: int = 0, *, fast_start: bool = False) -> None:
        self._path, self._threads, self._fast_start = path, threads, fast_start
        os.environ.setdefault(_NO_TELEMETRY, "1")
        import onnxruntime

        if not path.is_file():
            raise CheckpointError(f"cannot read network {path}: no such file")
        self._path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if fast_start:
            unoptimised = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = unoptimised
        options.log_severity_level = 4  # none: errors are raised, too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Kernels in int8 become float32 once, not for each photo.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.provenance = Provenance(**fields_of(json.loads(metadata[METADATA])))
            self.source = metadata[SOURCE]
            self.mask_threshold = float(metadata.get(MASK_THRESHOLD, self.provenance.threshold))
            self._check_graph()
        except Exception as error:  # ONNX Runtime's have no base class of its own
            raise CheckpointError(
                f"{path}: not a network that 'lesionseg export' wrote, or damaged; export it "
                f"again, or name another, such as 'bundled'{_quoted(error)}"
            ) from error

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        return _checked(self._probabilities(photos), self._path, self._probabilities)

    def _probabilities(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        (probabilities,) = self._run([PROBABILITIES], photos)
        return probabilities

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path of the file, which must be there where it is unpickled."""
        place = store.bundled_name(self._path.with_suffix(CHECKPOINT)) or self._path.absolute()
        return _reopen, (place, self.source, self._threads, self._fast_start)

    def masks(self, photos: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Compute all outputs of the file, as other programs see them.

        Args:
            photos: (N, H, W, 3) uint8, RGB, of any size.

        Returns:
            (N, H, W) uint8, 0 or 255, and (N, size, size) float32, 0 to 1.
        """
        mask, probabilities = self._run([MASK, PROBABILITIES], photos)
        return mask, _checked(probabilities, self._path, self._probabilities)

    def _check_graph(self) -> None:
        """Raise ValueError where the file takes or gives anything but `lesionseg export`'s."""
        inputs, outputs = (
            {value.name: (value.type, len(value.shape)) for value in values}
            for values in (self._session.get_inputs(), self._session.get_outputs())
        )
        if inputs != {PHOTO: ("tensor(uint8)", 4)} or outputs != {
            MASK: ("tensor(uint8)", 3),
            PROBABILITIES: ("tensor(float)", 3),
        }:
            raise ValueError("its inputs or outputs are not those expected")

    def _run(self, names: list[str], photos: NDArray[np.uint8]) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = self._session.run(names, {PHOTO: photos})
        except Exception as error:  # ONNX Runtime's have no base class of its own
            raise CheckpointError(
                f"{self._path}: this network cannot be run; export it again, or name another, "
                f"such as 'bundled'{_quoted(error)}"
            ) from error
        size = self.provenance.model.image_size
        shape = (len(photos), size, size)
        if outputs[-1].shape != shape:
            raise CheckpointError(
                f"{self._path}: expected probabilities of {shape}, got {outputs[-1].shape}"
            )
        return outputs


def _quoted(error: Exception) -> str:
    """Quote what ONNX Runtime says, without codes and the file's path; nothing of other errors."""
    if not type(error).__module__.startswith("onnxruntime"):
        return ""
    return f" (ONNX Runtime: {_OWN_PREFIX.sub('', one_line(error))[:200]})"


def _reopen(place: Path | str, source: str, threads: int, fast_start: bool) -> OnnxNetwork:
    """Open a pickled network again, by its path or the name of bundled weights."""
    path = place if isinstance(place, Path) else store.BUNDLED_FILES[place].with_suffix(EXPORTED)
    network = OnnxNetwork(path, threads, fast_start=fast_start)
    if network.source != source:
        raise CheckpointError(f"{path}: the file has changed since this network was pickled")
    return network


def open_network(
    path: Path, device: str | None = None, threads: int = 0, *, fast_start: bool = False
) -> Network:
    """Open the network of a checkpoint, or an exported one.

    A checkpoint runs in ONNX Runtime if an export of this very checkpoint lies beside it
    (`best.onnx` beside `best.pt`) and the device is the CPU: by name, or by default without CUDA.

    Args:
        path: a checkpoint (.pt) or an exported network (.onnx).
        device: cpu, cuda, cuda:1, mps; by default CUDA when there is one, else the CPU.
        threads, fast_start: as for `OnnxNetwork`; torch decides for itself.

    Raises:
        CheckpointError: the file is missing, foreign or damaged.
        LesionsegError: no such device, or one that an exported network does not run on.
    """
    on_cpu = device == "cpu" or (device is None and not has_cuda())
    if is_exported(path):
        if device not in (None, "cpu"):
            raise LesionsegError(
                f"{path}: an exported network runs on the CPU, not on {device!r}; name the "
                "checkpoint that it was exported from"
            )
        network = OnnxNetwork(path, threads, fast_start=fast_start)
        network.provenance = replace(network.provenance, threshold=network.mask_threshold)
        return network
    exported = path.with_suffix(EXPORTED)
    if on_cpu and exported.is_file() and path.is_file():
        with suppress(CheckpointError):  # an export that cannot be used is ignored
            network = OnnxNetwork(exported, threads, fast_start=fast_start)
            if network.source == checksum(path):
                return network
    from lesionseg.network import checkpoint as checkpoints

    checkpoint, unet = checkpoints.load_network(path)
    return TorchNetwork(unet, checkpoint, device)


def is_exported(path: Path) -> bool:
    """Tell by its name whether a file is an exported network."""
    return path.suffix.lower() == EXPORTED


def advice_on_exported(path: Path) -> str:
    """Say which checkpoint to give in place of an exported network, by the checksum it carries."""
    try:
        network = OnnxNetwork(path, fast_start=True)
    except CheckpointError:
        return f"give a checkpoint (.pt), a run, or {store.BUNDLED!r}"
    runs = sorted(store.runs_dir().glob(f"*/{store.BEST}"))
    is_int8 = path.name.lower().endswith(INT8)
    stem = path.name[: -len(INT8 if is_int8 else EXPORTED)]
    bundled = store.BUNDLED_FILES.values()
    for checkpoint in (path.with_name(f"{stem}{CHECKPOINT}"), *runs, *bundled):
        if checkpoint.is_file() and checksum(checkpoint) == network.source:
            name = store.bundled_name(checkpoint) or checkpoint
            return f"give the checkpoint that it was exported from: {name}"
    if network.provenance.members:
        return "give the checkpoint (.pt) that it was exported from, or one of them"
    return (
        "give the checkpoint (.pt) that it was exported from, of "
        f"SHA-256 {network.source[:12]}...; it is neither beside it nor among the runs"
    )


def _checked(
    probabilities: NDArray[np.float32],
    network: object,
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return probabilities, with NaN for each photo for which they are not numbers of 0 to 1.

    One photo may be too much for a sound network. A network that fails a plain photo, too, is
    damaged, and so is one with the same probability in all of its pixels, as with weights of zero.

    Args:
        probabilities: (B, size, size) float32; changed in place.
        network: its name, for messages.
        run: runs it, without checks.

    Raises:
        CheckpointError: it is damaged.
    """
    if not len(probabilities):
        return probabilities
    are_sound, are_flat = _judge(probabilities)
    # ONNX Runtime's sigmoid rounds beyond 0 and 1 on some processors.
    np.clip(probabilities, 0, 1, out=probabilities)
    if are_sound.all() and not are_flat.any():
        return probabilities
    size = probabilities.shape[-1]
    noise = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    is_sound, is_flat = _judge(run(noise))
    if not is_sound.all() or is_flat.any():
        reason = "probabilities outside 0 to 1"
        if is_flat.any():
            reason = "the same probability for every pixel"
        raise CheckpointError(
            f"{network}: gives {reason}: damaged weights; name another, such as 'bundled'"
        )
    probabilities[~are_sound] = np.nan
    return probabilities


def _judge(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell of each photo whether its probabilities are 0 to 1, and whether all are the same one.

    A network may well be sure of all pixels, and then give the smallest or largest number it can.
    """
    lowest, highest = probabilities.min((1, 2)), probabilities.max((1, 2))
    are_sound = (lowest >= -_ROUNDING) & (highest <= 1 + _ROUNDING)  # which NaN is not
    are_flat = (lowest == highest) & (lowest > _SURE) & (highest < 1 - _SURE)
    return are_sound, are_flat


@cache
def _checksum(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        status = path.stat()
        return _checksum(
            path.absolute(), status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)
        )
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
