"""What a network costs: parameters, training steps a second on random tensors, and one photo.

    python benchmarks/networks.py [--precision bfloat16]

Training is in the given precision, in batches of 8; a photo goes through the network alone, in
float32, as `lesionseg segment` does.
"""

import argparse
from functools import partial

import torch
from training_step import rate

from lesionseg.config import ModelConfig
from lesionseg.network.device import find_device, keep_freed_memory, memory_format
from lesionseg.network.losses import loss_of
from lesionseg.network.unet import UNet

BATCH = 8
NETWORKS = (
    ModelConfig(width=16),
    ModelConfig(width=16, stem="strided", max_channels=256),
    ModelConfig(width=24, stem="strided", max_channels=384),
    ModelConfig(width=32, stem="strided", max_channels=256),
    ModelConfig(width=32, stem="strided", max_channels=512),
)


def training(network: UNet, size: int, precision: str) -> float:
    """Count the photos a second of training steps."""
    device = find_device("cpu")
    photos = torch.rand(BATCH, 3, size, size).mul(255)
    photos = photos.contiguous(memory_format=memory_format(device))
    masks = torch.rand(BATCH, 1, size, size).round()
    optimiser = torch.optim.Adam(network.train().parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        mixed = precision != "float32"
        with torch.autocast("cpu", getattr(torch, precision), enabled=mixed):
            logits = network(photos)
        loss_of(logits.float(), masks, "bce+dice").backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return BATCH * rate(step)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="float32")
    precision = parser.parse_args().precision
    keep_freed_memory()
    layout = memory_format(find_device("cpu"))
    print("| width | stem | most channels | parameters | 256x256 | 128x128 | one photo |")
    print("|---|---|---|---|---|---|---|")
    for config in NETWORKS:
        network = UNet(config).to(memory_format=layout)  # type: ignore[call-overload]
        rates = [training(network, size, precision) for size in (256, 128)]
        photo = torch.rand(1, 3, 256, 256).mul(255).contiguous(memory_format=layout)
        network.eval()
        with torch.inference_mode():
            alone = 1 / rate(partial(network, photo))
        weights = sum(value.numel() for value in network.parameters()) / 1e6
        print(
            f"| {config.width} | {config.stem} | {min(16 * config.width, config.max_channels)} | "
            f"{weights:.2f} M | {rates[0]:.1f} photos/s | {rates[1]:.1f} photos/s | "
            f"{1000 * alone:.0f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    main()
