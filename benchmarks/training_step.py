"""Training steps a second on random tensors: what the allocator and the memory format give.

    python benchmarks/training_step.py [--width 16] [--rounds 3]

Each variant runs in a process of its own, the variants in turn, so that a machine whose speed
drifts does the same to all; the table shows medians as ratios to the first variant.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

BATCH, SIZE, SECONDS = 8, 256, 8.0
VARIANTS = {
    "plain": (False, False),
    "keeps freed memory": (True, False),
    "keeps freed memory, channels-last": (True, True),
}


def measure(width: int, keep: bool, channels_last: bool) -> float:
    """Count the photos a second of training steps of the U-Net with batch normalisation."""
    import torch

    from lesionseg.config import ModelConfig
    from lesionseg.network.device import keep_freed_memory
    from lesionseg.network.unet import UNet

    if keep:
        keep_freed_memory()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = UNet(ModelConfig(width=width)).to(memory_format=layout)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)
    photos = torch.rand(BATCH, 3, SIZE, SIZE).mul(255).contiguous(memory_format=layout)
    masks = torch.rand(BATCH, 1, SIZE, SIZE).round()

    def step() -> None:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(photos), masks)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return BATCH * rate(step)


def rate(step: Callable[[], None]) -> float:
    """Count the calls a second, after one that does not count."""
    step()
    began, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < SECONDS or calls < 2:
        step()
        calls += 1
    return calls / spent


def main() -> None:
    """Run the variants in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.width, *VARIANTS[options.only])))
        return
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, measured in rates.items():
            command = [sys.executable, __file__, "--width", str(options.width), "--only", name]
            measured.append(json.loads(subprocess.check_output(command)))
    base = statistics.median(rates["plain"])
    print(f"width {options.width}, batch {BATCH}, {SIZE}x{SIZE}, {options.rounds} rounds")
    print(f"{'variant':36}{'photos/s':>10}{'min':>8}{'max':>8}{'ratio':>8}")
    for name, measured in rates.items():
        middle = statistics.median(measured)
        print(
            f"{name:36}{middle:10.2f}{min(measured):8.2f}{max(measured):8.2f}{middle / base:8.2f}"
        )


if __name__ == "__main__":
    main()
