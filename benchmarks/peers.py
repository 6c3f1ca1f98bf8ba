"""Photo to mask file as two peers' own pages say, around the bundled network.

    python benchmarks/peers.py milesial|smp FOLDER_OF_MASKS PHOTO...

`milesial`: the steps of Pytorch-UNet's predict.py (Pillow, bicubic; the logits enlarged to the
photo's size; sigmoid, threshold, save). `smp`: those of segmentation_models.pytorch's README and
its inference example (OpenCV; sigmoid and threshold at the network's size; the mask enlarged).
Both squeeze a photo to 256x256, as our network wants it; both are plain loops in float32.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lesionseg import store
from lesionseg.network import checkpoint


def milesial(network: torch.nn.Module, path: Path, target: Path) -> None:
    """Segment one photo as predict.py does it."""
    photo = Image.open(path).convert("RGB")
    small = np.asarray(photo.resize((256, 256), resample=Image.Resampling.BICUBIC))
    batch = torch.as_tensor(small.copy()).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        logits = network(batch)
        large = interpolate(logits, (photo.height, photo.width), mode="bilinear")
        mask = (torch.sigmoid(large) > 0.5)[0].squeeze().numpy()
    Image.fromarray((mask * 255).astype(np.uint8)).save(target)


def smp(network: torch.nn.Module, path: Path, target: Path) -> None:
    """Segment one photo as the README and the example of segmentation_models.pytorch do it."""
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise SystemExit(f"{path}: not a photo that OpenCV reads")
    photo = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    small = cv2.resize(photo, (256, 256))
    batch = torch.from_numpy(small).permute(2, 0, 1).unsqueeze(0).float()
    with torch.inference_mode():
        mask = (network(batch).sigmoid() > 0.5)[0, 0].numpy().astype(np.uint8) * 255
    mask = cv2.resize(mask, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(target), mask)


def main() -> None:
    """Loop over the photos."""
    name, folder, *photos = sys.argv[1:]
    segment = {"milesial": milesial, "smp": smp}[name]
    Path(folder).mkdir(parents=True, exist_ok=True)
    network = checkpoint.load(store.BUNDLED_FILE).network()
    for photo in map(Path, photos):
        segment(network, photo, Path(folder) / f"{photo.stem}_segmentation.png")


if __name__ == "__main__":
    main()
