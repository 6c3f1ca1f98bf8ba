"""Teachers: trained networks whose masks another network learns."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lesionseg import store
from lesionseg.errors import CheckpointError
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.device import memory_format
from lesionseg.network.mean import AnyUNet
from lesionseg.network.provenance import Parent


@dataclass(frozen=True)
class Teacher:
    """A trained network, and which checkpoint it is of."""

    network: AnyUNet
    record: Parent

    @classmethod
    def load(cls, name: str) -> "Teacher":
        """Read a checkpoint, named as for `store.find_checkpoint`.

        Raises:
            CheckpointError: no such checkpoint, or it cannot be read.
        """
        path = store.find_checkpoint(name)
        checkpoint, network = checkpoints.load_network(path)
        return cls(network, checkpoint.as_parent(path))

    @classmethod
    def reload(cls, known: Parent) -> "Teacher":
        """Read the teacher of a run that is resumed.

        Raises:
            CheckpointError: it is no longer there, or is another one.
        """
        teacher = cls.load(known.file)
        if teacher.record.checksum != known.checksum:
            raise CheckpointError(
                f"{known.file}: the run was started with another teacher of this name (expected "
                f"SHA-256 {known.checksum[:12]}, got {teacher.record.checksum[:12]}); restore "
                "that file, or start a new run without --resume"
            )
        return teacher


class Teachers:
    """Several teachers on a device: the mean of their probabilities.

    Args:
        networks: in evaluation mode; at least one.
        device: where they run.
        precision: of their arithmetic.
    """

    def __init__(
        self, networks: Sequence[AnyUNet], device: torch.device, precision: torch.dtype
    ) -> None:
        layout = memory_format(device)
        self._networks = [
            network.to(device).to(memory_format=layout)  # type: ignore[call-overload]
            for network in networks
        ]
        self._device, self._precision = device, precision

    def blend(self, photos: Tensor, masks: Tensor, weight: float) -> Tensor:
        """Blend photos' own masks with the teachers', which alone count where there is none.

        Args:
            photos: (B, 3, side, side), 0 to 255.
            masks: (B, 1, side, side) float32, 0 to 1; `pairs.UNKNOWN` where a photo has none.
            weight: of the teachers, 0 to 1.

        Returns:
            (B, 1, side, side) float32, 0 to 1.
        """
        unlabelled = masks.amax((1, 2, 3), keepdim=True) > 1.5
        weights = torch.where(unlabelled, 1.0, weight)
        return torch.lerp(masks.clamp(max=1), self.masks(photos), weights)

    @torch.no_grad()
    def masks(self, photos: Tensor) -> Tensor:
        """Return the mean of their probabilities, each network at its own size.

        Args:
            photos: (B, 3, side, side), 0 to 255.

        Returns:
            (B, 1, side, side) float32, 0 to 1.
        """
        side, total = photos.shape[-1], torch.zeros(())
        for network in self._networks:
            size = network.config.image_size
            resized = photos if size == side else _resize(photos.float(), size)
            mixed = self._precision != torch.float32
            with torch.autocast(self._device.type, self._precision, enabled=mixed):
                probabilities = network(resized).float().sigmoid()
            total = total.to(self._device) + (
                probabilities if size == side else _resize(probabilities, side)
            )
        return total / len(self._networks)


def _resize(images: Tensor, side: int) -> Tensor:
    return interpolate(images, size=(side, side), mode="bilinear", antialias=True)
