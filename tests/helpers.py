"""Small networks, small drawings, and files of them, for the tests."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import settings
from PIL import Image

from lesionseg.config import ModelConfig, Recipe
from lesionseg.data import synthetic
from lesionseg.data.cache import CachedPairs
from lesionseg.images.arrays import Mask, Photo
from lesionseg.images.png import mask_png
from lesionseg.images.resize import shrink, shrink_mask
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.export import export
from lesionseg.network.provenance import TrainingData
from lesionseg.network.runtime import EXPORTED, TorchNetwork
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.training import trainer

torch.set_num_threads(1)  # the networks here are too small to share out

SIZE = 32  # the smallest side that a network takes
DATA = TrainingData("drawings", "", "", "", False, "CC0-1.0", ("a", "b"), ("c",), "0-1")


def examples(count: int) -> settings:
    """Settings of a property test: so many examples where the profile has a hundred."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=count * profile.max_examples // 100)


class Ended(NamedTuple):
    """What a command ended with, and what it said."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]  # the words of the command line in, see `lesionseg` in conftest


@cache
def drawing(index: int) -> tuple[Photo, Mask]:
    """A drawing thinned to some 50 x 60 pixels, and its mask."""
    photo, mask = synthetic.generate(0, index)
    return np.ascontiguousarray(photo[::6, ::6]), np.ascontiguousarray(mask[::6, ::6])


def prepared(*indices: int) -> CachedPairs:
    """Drawings at the network's size."""
    drawn = [drawing(index) for index in indices]
    return CachedPairs(
        np.stack([shrink(photo, SIZE) for photo, _ in drawn]),
        np.stack([shrink_mask(mask, SIZE).astype(np.uint8) for _, mask in drawn]),
        tuple(str(index) for index in indices),
        (),
        "0",
    )


def begun(
    width: int = 1,
    normalisation: Any = "batch",
    synthetic: bool = False,
    poolings: int = 4,
    **recipe: Any,
) -> Checkpoint:
    """A tiny network before its first epoch."""
    return trainer.initial_checkpoint(
        ModelConfig(width, normalisation, SIZE, poolings=poolings),
        Recipe(**recipe),
        replace(DATA, synthetic=synthetic),
    )


def saved(path: Path, **choices: Any) -> Path:
    """A checkpoint file of a tiny network."""
    checkpoints.save(begun(**choices), path)
    return path


@cache
def _exported() -> tuple[bytes, bytes]:
    with TemporaryDirectory() as folder:
        checkpoint = saved(Path(folder) / "a.pt", width=2, seed=3)
        network = checkpoint.with_suffix(EXPORTED)
        export(checkpoint, network)
        return checkpoint.read_bytes(), network.read_bytes()


def exported(checkpoint: Path) -> Path:
    """A checkpoint file of the network of `segmenter`, and beside it the network as ONNX."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    for path, content in zip(
        (checkpoint, checkpoint.with_suffix(EXPORTED)), _exported(), strict=True
    ):
        path.write_bytes(content)
    return checkpoint


def torch_network(checkpoint: Checkpoint, device: str = "cpu") -> TorchNetwork:
    """A checkpoint's network, to run in torch."""
    return TorchNetwork(checkpoint.network(), checkpoint, device)


@cache
def segmenter() -> Segmenter:
    """A network that was never trained, but calls a part of every drawing a lesion."""
    return Segmenter(torch_network(begun(2, seed=3)))


def write_photo(path: Path, index: int = 0) -> Path:
    """A photo file, of the kind that its suffix says; a PNG holds every pixel as it was drawn."""
    photo, _ = drawing(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path)
    return path


def write_mask(path: Path, mask: Mask) -> Path:
    """A mask file of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mask_png(mask))
    return path


def write_pairs(folder: Path, *indices: int) -> Path:
    """A data set: `images/ISIC_<number>.png` and `masks/ISIC_<number>_segmentation.png`."""
    for index in indices:
        name = f"ISIC_{index:07d}"
        write_photo(folder / "images" / f"{name}.png", index)
        write_mask(folder / "masks" / f"{name}_segmentation.png", drawing(index)[1])
    return folder


def touch(folder: Path, *names: str) -> Path:
    """Empty files; to find pairs, only names are read."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder
