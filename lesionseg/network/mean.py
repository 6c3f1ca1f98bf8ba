"""Several U-Nets as one network in torch: the mean of their probabilities.

Photos are squeezed and logits enlarged as `ensemble.Ensemble` does it outside of torch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lesionseg.config import ModelConfig
from lesionseg.network.ensemble import CERTAIN
from lesionseg.network.unet import UNet

_ROUNDING = 0.5 + 1e-3  # halves go up, as in Pillow, whatever a runtime's last digits
_LIMIT = math.log(1 / CERTAIN - 1)  # of logits


class MeanUNet(nn.Module):
    """Run U-Nets side by side: photos in, the logits of their mean probability out.

    Args:
        networks: two or more; each sees the photo at its own size.

    Attributes:
        config: of the first network with the largest input.
    """

    def __init__(self, networks: "Sequence[AnyUNet]") -> None:
        super().__init__()
        configs = [network.config for network in networks]
        self.config: ModelConfig = max(configs, key=lambda config: config.image_size)
        self.members = nn.ModuleList(networks)
        self._sizes = [config.image_size for config in configs]

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the logits of photos.

        Args:
            photos: (B, 3, H, W) uint8 or float, RGB, 0 to 255.

        Returns:
            (B, 1, H, W) float logits of the mean; in training (B, networks, H, W), those of each
            network, so that each has its own loss and they stay different.
        """
        sides = photos.shape[2:]
        logits = []
        for network, size in zip(self.members, self._sizes, strict=True):
            small, own = photos, [side * size // self.config.image_size for side in sides]
            if size != self.config.image_size:
                small = _shrink(photos.float(), own)
            logits.append(_enlarge(network(small).float(), sides))
        together = torch.cat(logits, dim=1)
        if self.training:
            return together
        return together.sigmoid().mean(1, keepdim=True).logit(CERTAIN)


AnyUNet = UNet | MeanUNet


def _shrink(photos: Tensor, sides: Sequence[int]) -> Tensor:
    """Squeeze photos, (B, 3, H, W) of whole numbers, as Pillow does: rounded after either axis."""
    for shape in ([photos.shape[2], sides[1]], [sides[0], sides[1]]):
        photos = interpolate(photos, shape, mode="bilinear", antialias=True)
        photos = (photos + _ROUNDING).floor()
    return photos


def _enlarge(logits: Tensor, sides: Sequence[int]) -> Tensor:
    if logits.shape[2:] == sides:
        return logits
    return interpolate(logits.clamp(-_LIMIT, _LIMIT), list(sides), mode="bilinear")
