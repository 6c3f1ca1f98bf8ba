"""The U-Net of Ronneberger et al. 2015 (arXiv:1505.04597), read from top to bottom.

Design choices:
- 3x3 convolutions are padded, so that the logits are as large as the input (the paper crops).
- Each is followed by batch normalisation where the configuration says so (the paper has none).
- Weights start as the paper says: Gaussian with a standard deviation of sqrt(2 / N), N being
  the number of inputs of one neuron.
- A "strided" stem, where the configuration asks for one, is a convolution of stride 2 before the
  first encoder block; the blocks then work on a quarter of the pixels, and a transposed convolution
  brings the result back to the input's size. It is what makes a wide network cheap.
- A "quarter" stem is two of those, and the logits are interpolated back to the input's size: a
  transposed convolution would start as a pattern of 4x4 pixels that a short training cannot undo.
- The network owns its normalisation of photos, so that no caller can get it wrong: bytes go in.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lesionseg.config import ModelConfig

# Mean and standard deviation of ImageNet's RGB, in 0 to 255: the constants that torchvision's
# documentation gives; fixed, so that scaling never depends on what the pixels happen to be.
PHOTO_MEAN = (123.675, 116.28, 103.53)
PHOTO_STD = (58.395, 57.12, 57.375)
SHRINKAGE = 10.0
LESION_FRACTION = 0.18  # of the pixels of the official training masks


class Convolutions(nn.Sequential):
    """3x3 convolutions, each with ReLU: (B, channels[0], h, w) -> (B, channels[-1], h, w).

    A stride of 2 halves h and w in each of them.
    """

    def __init__(self, *channels: int, normalise: bool, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not normalise))
            if normalise:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(nn.Module):
    """Photos in, logits of "lesion" out, at the same size.

    Args:
        config: width, normalisation, stem, most channels and poolings; the channels of the blocks
            are width, 2, 4, 8, 16, ... times width, cut to the most.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        normalise = config.normalisation == "batch"
        levels = range(config.poolings + 1)
        channels = [min(config.width * 2**level, config.max_channels) for level in levels]
        first, *_ = channels
        strided, quarter = config.stem == "strided", config.stem == "quarter"

        self.register_buffer("mean", torch.tensor(PHOTO_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(PHOTO_STD).view(1, 3, 1, 1))
        self.stem = None
        if strided or quarter:
            sides = [3, (first + 1) // 2, first] if quarter else [3, first]
            self.stem = Convolutions(*sides, normalise=normalise, stride=2)
        self.encoder = nn.ModuleList(
            Convolutions(inputs, outputs, outputs, normalise=normalise)
            for inputs, outputs in itertools.pairwise([first if self.stem else 3, *channels[:-1]])
        )
        self.pool = nn.MaxPool2d(2)
        *_, last, deepest = channels
        self.bottleneck = Convolutions(last, deepest, deepest, normalise=normalise)
        steps = list(itertools.pairwise(reversed(channels)))  # (from, to), deepest first
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2) for inputs, outputs in steps
        )
        self.decoder = nn.ModuleList(
            Convolutions(2 * outputs, outputs, outputs, normalise=normalise) for _, outputs in steps
        )
        finest = (first + 1) // 2 if strided else first
        self.enlarge = nn.ConvTranspose2d(first, finest, 2, stride=2) if strided else None
        self.head = nn.Conv2d(finest, 1, 1)
        self.apply(_initialise)

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the logits of photos.

        Args:
            photos: (B, 3, H, W) uint8 or float, RGB, 0 to 255; H and W multiples of
                `config.multiple`.

        Returns:
            (B, 1, H, W) float logits; their sigmoid is the probability of lesion.
        """
        x = self._standardise(photos)
        if self.stem is not None:
            x = self.stem(x)  # h, w = H / 2, W / 2, or a quarter; without it h, w = H, W
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)  # (B, channels[level], h / 2**level, w / 2**level)
            x = self.pool(x)
        x = self.bottleneck(x)  # (B, channels[-1], h / 2**poolings, ...)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), upsample(x)], dim=1))
        if self.enlarge is not None:
            x = self.enlarge(x).relu()  # (B, half the first, H, W)
        logits: Tensor = self.head(x)
        if self.config.stem == "quarter":
            logits = interpolate(logits, scale_factor=4.0, mode="bilinear")
        return logits  # (B, 1, H, W)

    def _standardise(self, photos: Tensor) -> Tensor:
        if self.config.standardisation == "fixed":
            return (photos - self.mean) / self.std
        spread, mean = torch.std_mean(photos.float(), (2, 3), keepdim=True)
        return (photos - mean) / (spread + 1)  # 1: a photo of one colour has no spread


def _initialise(module: nn.Module) -> None:
    """Set the paper's initial weights; biases at zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def shrink_weights(network: UNet) -> None:
    """Divide the initial weights by ten, where that leaves the output as it was.

    Adam moves a weight by about its learning rate a step, whatever the gradient: a smaller weight
    is learned faster. Batch normalisation undoes the scale of the convolutions before it, and the
    last one's own scale that of the head, whose bias says at the start how much of a photo is
    lesion. Karras et al. 2018 (arXiv:1710.10196) call it an equalised learning rate. A network
    without normalisation stays as it is.
    """
    *_, last = network.decoder
    norms = [layer for layer in last.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is None:  # before a normalisation
                layer.weight.div_(SHRINKAGE)
        norms[-1].weight.mul_(SHRINKAGE)
        network.head.weight.div_(SHRINKAGE)
        assert network.head.bias is not None
        network.head.bias.fill_(math.log(LESION_FRACTION / (1 - LESION_FRACTION)))
