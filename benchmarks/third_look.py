"""Score checkpoints on photos as another camera, or darker skin, would have given them.

    python benchmarks/third_look.py --data isic256 --split val CHECKPOINT ...

A look beside the official validation set and the held-out photos, for choosing recipes. The photos
of the split are scored three times: as they are; turned, zoomed, shifted and recoloured within
about twice the bounds of the augmentation ("camera"); and with the skin, lesion included, darkened
by melanin, its contrast lowered and the exposure raised again ("darker skin"). The changes are the
same for every checkpoint, whose threshold is its own. Both only imitate: no figure here replaces
photos of dark skin.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lesionseg import store
from lesionseg.data.augmentation import MELANIN, Bounds, augment
from lesionseg.data.cache import CachedPairs, cache_pairs
from lesionseg.data.discovery import find
from lesionseg.metrics import Confusion, confusion, summarise
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.mean import AnyUNet
from lesionseg.segmentation.postprocess import keep_largest_region

CAMERA = Bounds((0.7, 1.25), 0.2, 0.15, 25.0, 12.0, 0.25, 0.35, 0.12)
DENSITY, CONTRAST, EXPOSURE, EXPOSED = 0.7, 0.7, 0.5, 140.0
Pair = tuple[Tensor, Tensor]  # (1, 3, size, size) 0 to 255, and (1, 1, size, size) 0 to 1


def as_they_are(photo: Tensor, mask: Tensor, place: int) -> Pair:
    """Change nothing."""
    return photo.float(), mask.float()


def by_another_camera(photo: Tensor, mask: Tensor, place: int) -> Pair:
    """Move and recolour the photo at this place of the list."""
    return augment(photo, mask, photo.shape[-1], [place], bounds=CAMERA)


def of_darker_skin(photo: Tensor, mask: Tensor, place: int) -> Pair:
    """Darken skin and lesion alike."""
    dark = photo * (-DENSITY * photo.new_tensor(MELANIN, dtype=torch.float32)).exp().view(
        1, 3, 1, 1
    )
    mean = dark.mean((2, 3), keepdim=True)
    dark = mean + (dark - mean) * CONTRAST
    dark *= (EXPOSURE * (EXPOSED / mean.amax(1, keepdim=True)).log()).exp()
    return dark.clamp(0, 255), mask.float()


LOOKS: dict[str, Callable[[Tensor, Tensor, int], Pair]] = {
    "as they are": as_they_are,
    "camera": by_another_camera,
    "darker skin": of_darker_skin,
}


def confusions(
    network: AnyUNet,
    pairs: CachedPairs,
    look: Callable[[Tensor, Tensor, int], Pair],
    threshold: float = 0.5,
) -> Iterator[Confusion]:
    """Compare the largest region that the network finds in each changed photo with its mask."""
    for place, (photo, mask) in enumerate(zip(pairs.photos, pairs.masks, strict=True)):
        changed, truth = look(
            torch.from_numpy(photo.copy()).permute(2, 0, 1)[None],
            torch.from_numpy(mask.copy())[None, None],
            place,
        )
        with torch.inference_mode():
            lesion = (network(changed).sigmoid() > threshold).numpy()[0, 0]
        yield confusion(
            keep_largest_region(np.ascontiguousarray(lesion)), truth.numpy()[0, 0] > 0.5
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    pairs = find(options.data).split(options.split)
    for name in options.checkpoints:
        checkpoint, network = checkpoints.load_network(store.find_checkpoint(name))
        cached = cache_pairs(pairs, checkpoint.model.image_size)
        for look, change in LOOKS.items():
            summary = summarise([*confusions(network, cached, change, checkpoint.threshold)])
            print(
                f"{name}, {look}: {summary.photos} photos, Dice {summary.dice.mean:.3f}, "
                f"Jaccard {summary.jaccard.mean:.3f}, failures {summary.failures:.1%}"
            )


if __name__ == "__main__":
    main()
