"""The U-Net of Ronneberger et al. 2015 (arXiv:1505.04597), read from top to bottom.

Design choices:
- 3x3 convolutions are padded, so that the logits are as large as the input (the paper crops).
- Each is followed by batch normalisation where the configuration says so (the paper has none).
- Weights start as the paper says: Gaussian with a standard deviation of sqrt(2 / N), N being
  the number of inputs of one neuron.
- The network owns its normalisation of photos, so that no caller can get it wrong: bytes go in.
"""

import torch
from torch import Tensor, nn

from lesionseg.config import DEPTH, ModelConfig

# Mean and standard deviation of ImageNet's RGB, in 0 to 255: the constants that torchvision's
# documentation gives; fixed, so that scaling never depends on what the pixels happen to be.
PHOTO_MEAN = (123.675, 116.28, 103.53)
PHOTO_STD = (58.395, 57.12, 57.375)


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each with ReLU: (B, inputs, h, w) -> (B, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int, normalise: bool) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not normalise))
            if normalise:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(nn.Module):
    """Photos in, logits of "lesion" out, at the same size.

    Args:
        config: width and normalisation; the channels are width, 2, 4, 8 and 16 times width.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        normalise = config.normalisation == "batch"
        channels = [config.width * 2**level for level in range(DEPTH + 1)]  # w, 2w, 4w, 8w, 16w
        *skips, deepest = channels

        self.register_buffer("mean", torch.tensor(PHOTO_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(PHOTO_STD).view(1, 3, 1, 1))
        self.encoder = nn.ModuleList(
            DoubleConvolution(inputs, outputs, normalise)
            for inputs, outputs in zip([3, *skips[:-1]], skips, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = DoubleConvolution(skips[-1], deepest, normalise)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(2 * outputs, outputs, 2, stride=2) for outputs in reversed(skips)
        )
        self.decoder = nn.ModuleList(
            DoubleConvolution(2 * outputs, outputs, normalise) for outputs in reversed(skips)
        )
        self.head = nn.Conv2d(config.width, 1, 1)
        self.apply(_start)

    def forward(self, photos: Tensor) -> Tensor:
        """Logits of photos.

        Args:
            photos: (B, 3, H, W) uint8 or float, RGB, 0 to 255; H and W multiples of 16.

        Returns:
            (B, 1, H, W) float logits; their sigmoid is the probability of lesion.
        """
        x = (photos - self.mean) / self.std
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)  # (B, width * 2**level, H / 2**level, W / 2**level)
            x = self.pool(x)
        x = self.bottleneck(x)  # (B, 16 * width, H / 16, W / 16)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), upsample(x)], dim=1))
        logits: Tensor = self.head(x)  # (B, 1, H, W)
        return logits


def _start(module: nn.Module) -> None:
    """The paper's starting weights; biases at zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
