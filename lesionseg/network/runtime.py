"""A trained network ready to run: by ONNX Runtime on the processor, by torch everywhere.

ONNX Runtime starts in a fraction of the time that importing torch takes, so it runs a network that
was exported; torch is the reference, and a test compares the two. Both take and give arrays.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lesionseg.errors import LesionsegError, one_line
from lesionseg.network.device import find_device, has_cuda, memory_format
from lesionseg.network.provenance import Provenance, fields_of

if TYPE_CHECKING:
    from lesionseg.network.unet import UNet

EXPORTED = ".onnx"
INT8 = ".int8.onnx"  # with kernels in int8, see `kernels`
# Unless this is set before it is imported, ONNX Runtime sends Microsoft what runs where, and keeps
# an id for it in the user's cache folder (its Privacy.md; 1.32 does).
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
PHOTO, MASK, SOFT = "photo", "mask", "probabilities"  # input and outputs of an exported network
METADATA, SOURCE = "lesionseg", "lesionseg_checkpoint_sha256"  # what an exported file carries


class Network(Protocol):
    """What a `Segmenter` asks of a network."""

    provenance: Provenance
    device: str
    one_by_one: bool  # photos alone, from several threads at once, rather than in batches

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of lesion.

        Args:
            photos: (B, size, size, 3) uint8, RGB, 0 to 255.

        Returns:
            (B, size, size) float32, 0 to 1.
        """


class TorchNetwork:
    """A U-Net in torch.

    Args:
        network: in evaluation mode.
        provenance: where it comes from.
        device: where it runs; left out, CUDA when there is one, else the processor.

    Raises:
        LesionsegError: no such device.
    """

    one_by_one = False

    def __init__(self, network: "UNet", provenance: Provenance, device: str | None = None) -> None:
        self.provenance = provenance
        self._device = find_device(device)
        self._layout = memory_format(self._device)
        self._network = network.to(self._device).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.device = str(self._device)

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        import torch

        batch = torch.from_numpy(photos).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            logits = self._network(batch.contiguous(memory_format=self._layout))
            soft: NDArray[np.float32] = logits.float().sigmoid().squeeze(1).cpu().numpy()
        return soft


class OnnxNetwork:
    """An exported network in ONNX Runtime, on the processor.

    Args:
        path: the file that `lesionseg export` wrote.
        threads: that share the arithmetic of one call; 0 for one a core.
        few: leave out what makes each photo faster but the start 30 ms slower.

    Raises:
        LesionsegError: no such file, or none that was exported by lesionseg.
    """

    device = "cpu (ONNX Runtime)"
    one_by_one = True

    def __init__(self, path: Path, threads: int = 0, *, few: bool = False) -> None:
        os.environ.setdefault(_NO_TELEMETRY, "1")
        import onnxruntime

        if not path.is_file():
            raise LesionsegError(f"cannot read network {path}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if few:
            as_it_is = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = as_it_is
        options.log_severity_level = 3  # errors; its warnings are for those who write graphs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            carried = self._session.get_modelmeta().custom_metadata_map
            self.provenance = Provenance(**fields_of(json.loads(carried[METADATA])))
            self.source = carried[SOURCE]
        except Exception as error:  # ONNX Runtime's are no subclasses of one of its own
            raise LesionsegError(
                f"{path}: not a network that 'lesionseg export' wrote, or damaged: "
                f"{one_line(error)[:200]}"
            ) from error

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        (soft,) = self._session.run([SOFT], {PHOTO: photos})
        result: NDArray[np.float32] = soft
        return result

    def masks(self, photos: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """All that the file gives, as its other users see it.

        Args:
            photos: (N, H, W, 3) uint8, RGB, of any size.

        Returns:
            (N, H, W) uint8, 0 or 255, and (N, size, size) float32, 0 to 1.
        """
        mask, soft = self._session.run([MASK, SOFT], {PHOTO: photos})
        return mask, soft


def open_network(
    path: Path, device: str | None = None, threads: int = 0, *, few: bool = False
) -> Network:
    """The network of a checkpoint, or of a file that was exported.

    A checkpoint runs in ONNX Runtime where an export of this very checkpoint lies beside it
    (`best.onnx` beside `best.pt`), and where no other device than the processor is meant: it was
    named, or none was and there is no CUDA.

    Args:
        path: a checkpoint (.pt) or an exported network (.onnx).
        device: cpu, cuda, cuda:1, mps; left out, CUDA when there is one, else the processor.
        threads, few: as of `OnnxNetwork`; torch decides for itself.

    Raises:
        LesionsegError: the file cannot be used, or no such device.
    """
    on_processor = device == "cpu" or (device is None and not has_cuda())
    if path.suffix == EXPORTED:
        if device not in (None, "cpu"):
            raise LesionsegError(
                f"{path}: an exported network runs on the processor, not on {device!r}; "
                "name the checkpoint that it was made from"
            )
        return OnnxNetwork(path, threads, few=few)
    exported = path.with_suffix(EXPORTED)
    if on_processor and exported.is_file() and path.is_file():
        with suppress(LesionsegError):  # one that is of no use here is in nobody's way
            network = OnnxNetwork(exported, threads, few=few)
            if network.source == checksum(path):
                return network
    from lesionseg.network import checkpoint as checkpoints

    checkpoint, unet = checkpoints.load_network(path)
    return TorchNetwork(unet, checkpoint, device)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        LesionsegError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LesionsegError(f"cannot read {path}: {error.strerror}") from error
