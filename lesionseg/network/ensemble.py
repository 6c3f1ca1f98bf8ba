"""Several networks as one: the mean of their probabilities.

A photo is squeezed to the largest of their inputs, and from there to those of the others; their
probabilities are enlarged to the largest, by way of their logits, so that they stay as certain as
they were. No torch, unless a network needs it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lesionseg.errors import CheckpointError
from lesionseg.images.resize import shrink
from lesionseg.network.provenance import Provenance, TrainingData, joint_command
from lesionseg.network.runtime import Network, OnnxNetwork, checksum, open_network

CERTAIN = 1e-6  # how near to 0 and 1 a probability comes, so that its logit is finite
_Described = TypeVar("_Described", bound=Provenance)


class Ensemble:
    """Run several networks on the same photos, as a `Network`.

    Args:
        networks: one or more, in torch or in ONNX Runtime.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self.provenance = joint_provenance([network.provenance for network in networks])
        self.device = ", ".join(dict.fromkeys(network.device for network in networks))
        self.batched = any(network.batched for network in networks)

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`; `size` is the largest input of all networks."""
        size = self.provenance.model.image_size
        total = np.zeros((len(photos), size, size), np.float32)
        for network in self.networks:
            own = network.provenance.model.image_size
            if own == size:
                total += network(photos)
                continue
            small = np.stack([shrink(photo, own, gap=None) for photo in photos])
            total += [_enlarge(soft, size) for soft in network(small)]
        total /= len(self.networks)
        return total


def _enlarge(probabilities: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    inside = probabilities.clip(CERTAIN, 1 - CERTAIN)
    logits = np.log(inside / (1 - inside))
    large = cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR)
    enlarged: NDArray[np.float32] = 1 / (1 + np.exp(-large))
    return enlarged


def open_networks(
    paths: Sequence[Path], device: str | None = None, threads: int = 0, *, fast_start: bool = False
) -> Network:
    """Open the network of a file, or the mean of the networks of several.

    Args:
        paths: one or more checkpoints (.pt) or exported networks (.onnx).
        device, threads, fast_start: as for `runtime.open_network`.

    Raises:
        CheckpointError: a network is given twice, or as `runtime.open_network`.
        LesionsegError: as `runtime.open_network`.
    """
    networks = [open_network(path, device, threads, fast_start=fast_start) for path in paths]
    if len(networks) == 1:
        return networks[0]
    check_distinct(paths, list(map(_source, paths, networks)))
    return Ensemble(networks)


def _source(path: Path, network: Network) -> str:
    """Return the checksum of a network's checkpoint, which an exported one carries."""
    return network.source if isinstance(network, OnnxNetwork) else checksum(path)


def check_distinct(names: Sequence[Path | str], checksums: Sequence[str]) -> None:
    """Refuse a network that is given twice, if only as a copy: each counts once in a mean.

    Args:
        names: of the files, for the message.
        checksums: SHA-256 of the checkpoint of each, in hexadecimal.

    Raises:
        CheckpointError: there is such a network.
    """
    first: dict[str, Path | str] = {}
    for name, sha256 in zip(names, checksums, strict=True):
        known = first.get(sha256)
        if known is not None:
            copy = "" if str(known) == str(name) else f", also as {name}"
            raise CheckpointError(
                f"{known}: this network was given more than once{copy}; give each one of a mean "
                "once"
            )
        first[sha256] = name


def weight_notes(names: Sequence[Path | str], members: Sequence[Provenance]) -> tuple[str, ...]:
    """Say that in a mean of files that hold unequal numbers of networks, these weigh unequally.

    Args:
        names: of the files.
        members: what each says of itself.

    Returns:
        A line, or none where the numbers are equal.
    """
    counts = list(map(_count, members))
    if len(set(counts)) <= 1:
        return ()
    parts = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    return (
        "each file counts once in the mean, however many networks it holds, so they weigh "
        f"unequally: {', '.join(parts)}",
    )


def _count(member: Provenance) -> int:
    """Count the networks that a file holds."""
    return sum(map(_count, member.members)) or 1


def joint_checksum(checksums: Sequence[str]) -> str:
    """Return one checksum for several, in whatever order; a single one is returned as it is.

    Args:
        checksums: SHA-256 of each file, in hexadecimal.
    """
    if len(checksums) == 1:
        return checksums[0]
    return hashlib.sha256("\n".join(sorted(checksums)).encode()).hexdigest()


def joint_provenance(members: Sequence[_Described]) -> _Described:
    """Describe the mean of networks.

    Its model, and all that is not said here, are those of the first network with the largest input;
    its data and commands are those of all, its threshold is the mean of theirs, and it has no
    scores.
    """
    largest = max(members, key=lambda member: member.model.image_size)
    return replace(
        largest,
        data=_joint_data([member.data for member in members]),
        scores={},
        command=joint_command(members),
        threshold=fmean(member.threshold for member in members),
        members=tuple(members),
    )


def _joint_data(parts: Sequence[TrainingData]) -> TrainingData:
    """Describe what networks were trained on together; paths and the like only where all agree."""

    def shared(name: str) -> str:
        values = {getattr(part, name) for part in parts}
        return values.pop() if len(values) == 1 else ""

    train_ids = dict.fromkeys(photo for part in parts for photo in part.train_ids)
    val_ids = dict.fromkeys(photo for part in parts for photo in part.val_ids)
    places = ("folder", "photos_folder", "truth_folder", "licence", "groups_file", "fold")
    texts: dict[str, Any] = {name: shared(name) for name in places}
    return TrainingData(
        name=" + ".join(dict.fromkeys(part.name for part in parts)),
        synthetic=all(part.synthetic for part in parts),
        train_ids=tuple(train_ids),
        val_ids=tuple(photo for photo in val_ids if photo not in train_ids),
        fingerprint=shared("fingerprint"),
        **texts,
    )
