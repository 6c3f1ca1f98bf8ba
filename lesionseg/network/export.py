"""A checkpoint -> one ONNX file that takes photos of any size and gives masks of that size.

What is inside, in this order: the photo shrunk to the network's square as Pillow does it, the
network with its own normalisation, the sigmoid, the probabilities enlarged to the photo's size, the
threshold. What is not: EXIF orientation and the choice of the largest region. docs/embedding.md
shows how to use such a file.
"""

import contextlib
import dataclasses
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lesionseg import files, store
from lesionseg.config import Kernels
from lesionseg.data.synthetic import generate
from lesionseg.errors import LesionsegError
from lesionseg.extras import install_hint
from lesionseg.images.resize import enlarge, shrink
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.ensemble import (
    check_distinct,
    joint_checksum,
    joint_provenance,
    weight_notes,
)
from lesionseg.network.mean import AnyUNet, MeanUNet
from lesionseg.network.provenance import Provenance
from lesionseg.network.runtime import (
    MASK,
    MASK_THRESHOLD,
    METADATA,
    PHOTO,
    PROBABILITIES,
    SOURCE,
    OnnxNetwork,
    checksum,
)

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

OPSET = 18  # the first whose Resize takes the mean over what a pixel covers
_LARGEST_SIDE = 65535  # pixels; that of a JPEG
_TOLERANCE, _AGREEMENT = 1e-4, 0.9999  # of probabilities; of the pixels of a mask
_INT8_TOLERANCE, _INT8_AGREEMENT = 0.1, 0.98  # in int8, where flat maps of early epochs differ most
# Names of Resize nodes, for runtimes that know none with antialiasing; the inner ones are of the
# smaller networks of a mean.
_SHRINK, _ENLARGE, _INNER = "shrink", "enlarge", "resize_"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        size: in bytes.
        sha256: of the file, in hexadecimal.
        opset: of ONNX.
        difference: the largest between the probabilities of torch and of ONNX Runtime, 0 to 1.
        agreement: the share of a synthetic photo's pixels whose masks agree in the two, 0 to 1.
        notes: what a user must know of how several networks are weighed.
    """

    path: Path
    size: int
    sha256: str
    opset: int
    difference: float
    agreement: float
    notes: tuple[str, ...] = ()


class Joined(NamedTuple):
    """What was written: the file's size in bytes, its SHA-256, and the notes of `Exported`."""

    size: int
    sha256: str
    notes: tuple[str, ...]


class PhotoToMask(nn.Module):
    """A network with what is done to a photo before it and to its logits after it."""

    def __init__(self, network: AnyUNet, threshold: float) -> None:
        super().__init__()
        self.network, self.threshold = network, threshold
        self.size = network.config.image_size

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the masks of photos of one size.

        Args:
            photo: (N, H, W, 3) uint8, RGB, upright.

        Returns:
            (N, H, W) uint8, 0 or 255, and the probabilities (N, size, size) float32, 0 to 1.
        """
        _, height, width, _ = photo.shape
        square = [self.size, self.size]
        small = interpolate(
            photo.permute(0, 3, 1, 2).float(), square, mode="bilinear", antialias=True
        )
        probabilities = self.network(small.round().clamp(0, 255)).sigmoid()
        enlarged = interpolate(probabilities, [height, width], mode="bilinear", antialias=True)
        lesion, other = (torch.tensor(value, dtype=torch.uint8) for value in (255, 0))
        # ONNX Runtime 1.20 multiplies no bytes, but chooses between them.
        mask = torch.where(enlarged[:, 0] > self.threshold, lesion, other)
        return mask, probabilities[:, 0]


def export(
    source: Path | Sequence[Path],
    target: Path,
    threshold: float | None = None,
    kernels: Kernels = "float32",
) -> Exported:
    """Write the network of a checkpoint as ONNX, once it gives the masks that torch gives.

    Args:
        source: a checkpoint, or several for the mean of their probabilities; see `ensemble`.
        target: the .onnx file, which carries the checkpoint's description and checksum.
        threshold: a pixel is lesion where its probability is above, 0 to 1; by default that of the
            checkpoint. The file names another one in its metadata, too.
        kernels: in full, or a quarter of the size and masks that are nearly the same.

    Raises:
        LesionsegError: the checkpoint cannot be read, the file cannot be written, the packages for
            it are not installed, or the two networks differ.
    """
    paths = [source] if isinstance(source, Path) else source
    members, networks = zip(*map(checkpoints.load_network, paths), strict=True)
    checksums = list(map(checksum, paths))
    check_distinct(paths, checksums)
    checkpoint: Provenance = members[0] if len(members) == 1 else joint_provenance(members)
    if threshold is None:
        threshold = checkpoint.threshold
    whole = PhotoToMask(networks[0] if len(networks) == 1 else MeanUNet(networks), threshold)
    model = program(whole.eval(), checkpoint, joint_checksum(checksums)).model_proto
    tolerance, least = _TOLERANCE, _AGREEMENT
    if kernels == "int8":
        from lesionseg.network.kernels import store_in_int8

        store_in_int8(model)
        tolerance, least = _INT8_TOLERANCE, _INT8_AGREEMENT
    with files.atomic_write(target) as temporary:
        temporary.write_bytes(model.SerializeToString())
        difference, agreement = compared(whole, temporary)
        if not (difference <= tolerance and agreement >= least):  # nor where it is none
            raise LesionsegError(
                f"{target}: the exported network differs from torch by {difference:.2g} in a "
                f"probability and in {1 - agreement:.2%} of a mask's pixels; nothing was written; "
                "please report this"
            )
    size, notes = target.stat().st_size, weight_notes(paths, members)
    return Exported(target, size, checksum(target), OPSET, difference, agreement, notes)


def join(
    sources: Sequence[Path],
    target: Path,
    threshold: float | None = None,
    kernels: Kernels = "float32",
) -> Joined:
    """Write one checkpoint, for inference and for `--from`, of one or of the mean of several.

    Each source counts once in the mean, also one that is the mean of several networks itself.

    Args:
        sources: checkpoints.
        target: the .pt file.
        threshold, kernels: as for `export`.

    Raises:
        LesionsegError: a checkpoint cannot be read, or the file cannot be written.
    """
    if target.resolve() in [path.resolve() for path in sources]:
        raise LesionsegError(f"{target}: this is a checkpoint to read; name another file to write")
    if target.name in (store.BEST, store.LAST) and target.exists():
        raise LesionsegError(
            f"{target}: this is the checkpoint of a run; name another file to write"
        )
    members = list(map(checkpoints.load, sources))
    check_distinct(sources, list(map(checksum, sources)))
    joint = fuse(members)
    if threshold is not None:
        joint = dataclasses.replace(joint, threshold=threshold)
    checkpoints.save(joint, target, kernels)
    return Joined(target.stat().st_size, checksum(target), weight_notes(sources, members))


def fuse(members: Sequence[Checkpoint]) -> Checkpoint:
    """Make one checkpoint, for inference and for `--from`, of one or of the mean of several."""
    if len(members) == 1:
        return dataclasses.replace(members[0], training=None)
    weights = {
        f"members.{place}.{name}": value
        for place, member in enumerate(members)
        for name, value in member.weights.items()
    }
    return dataclasses.replace(joint_provenance(members), weights=weights, training=None)


def program(whole: PhotoToMask, checkpoint: Provenance, source: str) -> "ONNXProgram":
    """Convert the network to ONNX, not written yet; `source` is the checksum of its checkpoint.

    Raises:
        LesionsegError: the packages for it are not installed.
    """
    size = whole.size
    photo = torch.zeros(2, size + 3, size + 5, 3, dtype=torch.uint8)  # no size in common
    side = {name: torch.export.Dim(name, min=2, max=_LARGEST_SIDE) for name in ("height", "width")}
    shapes = {PHOTO: {0: torch.export.Dim("photos"), 1: side["height"], 2: side["width"]}}
    try:
        # The exporter reports its progress on standard output, and warns of its own old code.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                whole,
                (photo,),
                dynamo=True,
                input_names=[PHOTO],
                output_names=[MASK, PROBABILITIES],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
            )
    except ModuleNotFoundError as error:
        raise LesionsegError(
            f"export needs the package {error.name!r}; run: {install_hint('export')}"
        ) from error
    assert exported is not None
    exported.model.metadata_props[METADATA] = json.dumps(checkpoint.plain())
    exported.model.metadata_props[SOURCE] = source
    if whole.threshold != checkpoint.threshold:
        exported.model.metadata_props[MASK_THRESHOLD] = repr(whole.threshold)
    graph = exported.model.graph
    for part in (graph, *graph, *graph.initializers.values()):
        part.metadata_props.clear()  # paths of this machine and lines of its source code
    first, *inner, last = (node for node in graph if node.op_type == "Resize")
    first.name, last.name = _SHRINK, _ENLARGE
    for place, node in enumerate(inner, 1):
        node.name = f"{_INNER}{place}"
    return exported


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def compared(whole: PhotoToMask, path: Path) -> tuple[float, float]:
    """Compare torch and ONNX Runtime on a synthetic photo: difference and agreement of `Exported`.

    Probabilities are compared on the photo as the network sees it: where shrinking ends half-way
    between two bytes, the two may round to different ones, and no mask shows it. A pixel whose
    probability is the threshold, within the tolerance, counts as equal whatever its two masks say.
    """
    image, _ = generate(0, 0)
    exported = OnnxNetwork(path)
    with torch.inference_mode():
        (mask, own), (_, soft) = (
            [output.numpy() for output in whole(torch.from_numpy(photo[np.newaxis]))]
            for photo in (image, shrink(image, whole.size).copy())
        )
    other_mask, _ = exported.masks(image[np.newaxis])
    other_soft = exported(shrink(image, whole.size)[np.newaxis])
    distance = np.abs(enlarge(own[0], *image.shape[:2]) - whole.threshold)
    agrees = (mask[0] == other_mask[0]) | (distance <= _TOLERANCE)
    return float(np.abs(soft - other_soft).max()), float(agrees.mean())
