"""This tool beside its own limits and two peers: whole processes, ratios, in one run.

    python benchmarks/compare.py [--rounds 3] [--only one folder training arithmetic]

- one: one photo of 1022x767 to a mask file, the tool as it is, with torch alone, and the peers.
- folder: 64 mixed photos, 1022x767 to 6748x4499, the same; and the tool's own stages.
- training: an epoch of `train` against training steps on random tensors, and a plain loop of them.
- arithmetic: the network's operations a second against the processor's matrix product.

The photos are synthetic. The variants alternate, so that a machine whose speed drifts affects all
of them alike; figures are medians (least to most), memory is the peak of the process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from lesionseg import store
from lesionseg.data import synthetic

SIZES = {(1022, 767): 32, (3072, 2304): 16, (4288, 2848): 12, (6748, 4499): 4}
BESIDE = Path(__file__).parent
# A process's peak counts from its parent's memory, so the parent is a small one.
LAUNCHER = """
import os, sys, time
began = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
print([time.perf_counter() - began, usage.ru_maxrss])
sys.exit(status != 0)
"""
TOOL = [sys.executable, "-m", "lesionseg"]


def draw(folder: Path) -> list[Path]:
    """Write the mixed photos as JPEGs, the smallest first."""
    folder.mkdir()
    paths: list[Path] = []
    for size, count in SIZES.items():
        for _ in range(count):
            path = folder / f"photo_{len(paths):02}.jpg"
            photo = Image.fromarray(synthetic.generate(0, len(paths))[0])
            photo.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
            paths.append(path)
    return paths


def timed(command: Sequence[str], **environment: str) -> tuple[float, float]:
    """Measure the seconds and the peak memory, in MB, of a whole process."""
    process = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)[:300]}")
    seconds, kilobytes = json.loads(process.stdout.splitlines()[-1])
    return seconds, kilobytes / 1024


def table(
    title: str, variants: Mapping[str, Callable[[], tuple[float, float]]], rounds: int
) -> None:
    """Run the variants in turn and print them as ratios to the first."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            measured[name].append(run())
    base_seconds, base_memory = (
        statistics.median(column) for column in zip(*next(iter(measured.values())), strict=True)
    )
    print(f"\n### {title}\n\n| | seconds | ratio | MB | ratio |\n|---|---|---|---|---|")
    for name, runs in measured.items():
        seconds, memory = zip(*runs, strict=True)
        middle, peak = statistics.median(seconds), statistics.median(memory)
        print(
            f"| {name} | {middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | "
            f"{middle / base_seconds:.2f} | {peak:.0f} | {peak / base_memory:.2f} |",
            flush=True,
        )


def rate_table(title: str, unit: str, rates: Mapping[str, Sequence[float]], digits: str) -> None:
    """Print rates, and their ratios to the first."""
    base = statistics.median(next(iter(rates.values())))
    print(f"\n### {title}\n\n| | {unit} | ratio |\n|---|---|---|")
    for name, values in rates.items():
        middle = statistics.median(values)
        spread = f"{min(values):{digits}} to {max(values):{digits}}"
        print(f"| {name} | {middle:{digits}} ({spread}) | {middle / base:.2f} |")


def segmenting(photos: Sequence[Path], work: Path) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return the tool, the tool with torch, and the peers, on the same photos."""
    alone = work / "alone" / store.BUNDLED_FILE.name  # no exported network beside it
    alone.parent.mkdir(exist_ok=True)
    alone.write_bytes(store.BUNDLED_FILE.read_bytes())
    names = [str(photo) for photo in photos]

    def tool(checkpoint: str) -> tuple[float, float]:
        target = str(work / "ours") if len(names) > 1 else str(work / "mask.png")
        return timed([*TOOL, "segment", *names, "-o", target, "--checkpoint", checkpoint])

    def peer(name: str) -> tuple[float, float]:
        return timed([sys.executable, str(BESIDE / "peers.py"), name, str(work / name), *names])

    return {
        "lesionseg segment": lambda: tool(store.BUNDLED),
        "the same, torch (not exported)": lambda: tool(str(alone)),
        "plain loop as milesial/Pytorch-UNet": lambda: peer("milesial"),
        "plain loop as segmentation_models.pytorch": lambda: peer("smp"),
    }


def one(work: Path, photos: Sequence[Path], rounds: int) -> None:
    """Measure one photo, and what its process cannot do without."""
    bare = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
    variants = segmenting(photos[:1], work)
    variants |= {
        'python -c "import torch"': lambda: timed([sys.executable, "-c", "import torch"]),
        "lesionseg --help": lambda: timed([*TOOL, "--help"]),
        "--help of a bare Typer app": lambda: timed([sys.executable, "-c", bare, "--help"]),
    }
    table("One photo of 1022x767, whole process", variants, rounds)


def folder(work: Path, photos: Sequence[Path], rounds: int) -> None:
    """Measure 64 photos; and each stage alone, by as many threads as there are processors."""
    variants = segmenting(photos, work)
    for stage in ("read", "network", "write"):
        command = [sys.executable, str(BESIDE / "stages.py"), stage, str(work / "stages")]
        command += [str(photo) for photo in photos]
        variants[f"stage alone: {stage}"] = lambda command=command: timed(command)  # type: ignore[misc]
    table("64 mixed photos, whole process", variants, rounds)


def training(work: Path, photos: Sequence[Path], rounds: int) -> None:
    """Measure the second epoch of a run on the demo set, in photos a second."""
    cache = {store.CACHE_VARIABLE: str(work / "cache")}
    timed([*TOOL, "download", "demo"], **cache)
    step = [sys.executable, str(BESIDE / "training_step.py"), "--only"]
    share = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    trainings = {"train": TOOL, "train, two processes": [*share, "-m", "lesionseg", "--"]}
    tuned = "keeps freed memory, channels-last" if _wide() else "keeps freed memory"
    steps = {"random tensors": tuned, "plain loop on random tensors": "plain"}
    rates: dict[str, list[float]] = {name: [] for name in (*trainings, *steps)}
    for turn in range(rounds):
        for name, command in trainings.items():
            run = work / "runs" / f"{name} {turn}"
            timed([*command, "train", "--data", "demo", "--epochs", "2", "-o", str(run)], **cache)
            second = json.loads((run / store.HISTORY).read_text().splitlines()[1])
            rates[name].append(second["photos_per_second"])
        for name, variant in steps.items():
            rates[name].append(json.loads(subprocess.check_output([*step, variant])))
    rate_table("Training, width 16, batch 8, 256x256", "photos/s", rates, ".2f")


def _wide() -> bool:
    import torch

    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def arithmetic(work: Path, photos: Sequence[Path], rounds: int) -> None:
    """Compare the network's multiply-adds with a matrix product of 2048x2048, on all processors."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lesionseg.config import ModelConfig
    from lesionseg.network import checkpoint
    from lesionseg.network.runtime import OnnxNetwork, TorchNetwork
    from lesionseg.network.unet import UNet

    def rate(call: Callable[[], object]) -> float:
        call()
        began, calls = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < 2:
            call()
            calls += 1
        return calls / spent

    left = torch.rand(2048, 2048)
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    networks: dict[str, tuple[Callable[[], object], float]] = {
        "matrix product": (lambda: left @ left, 2 * 2048.0**3)
    }
    bundled, mean = checkpoint.load_network(store.BUNDLED_FILE)
    shapes = {f"width {width}": UNet(ModelConfig(width=width)).eval() for width in (32, 16)}
    for name, network in {**shapes, "bundled": mean}.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.rand(1, 3, 256, 256))
        run = TorchNetwork(network, bundled, "cpu")  # whose description the call does not read
        networks[f"{name}, torch"] = (lambda run=run: run(noise)), counter.get_total_flops()  # type: ignore[misc]
    exported = OnnxNetwork(store.BUNDLED_FILE.with_suffix(".onnx"))
    networks["bundled, ONNX Runtime"] = lambda: exported(noise), networks["bundled, torch"][1]
    measured: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, (call, operations) in networks.items():
            measured[name].append(rate(call) * operations / 1e9)
    rate_table("Forward pass, one photo, float32", "GFLOP/s", measured, ".0f")


def main() -> None:
    """Draw the photos and print the tables."""
    parts = {"one": one, "folder": folder, "training": training, "arithmetic": arithmetic}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        photos = draw(work / "photos") if {"one", "folder"} & {*options.only} else []
        for part in options.only:
            parts[part](work, photos, options.rounds)


if __name__ == "__main__":
    main()
