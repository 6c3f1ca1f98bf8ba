"""One stage of segmenting a folder alone, in a process of its own, on all processors.

    python benchmarks/stages.py read|network|write FOLDER PHOTO...

It does to each photo what `lesionseg segment` does in that stage, and nothing of the others.
"""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lesionseg import store
from lesionseg.images.photos import read_photo_shrunk
from lesionseg.images.png import mask_png
from lesionseg.network.device import keep_freed_memory
from lesionseg.network.runtime import OnnxNetwork
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.threads import map_ahead


def main() -> None:
    """Run the stage."""
    stage, folder, *names = sys.argv[1:]
    photos = [Path(name) for name in names]
    Path(folder).mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    network = OnnxNetwork(store.BUNDLED_FILE.with_suffix(".onnx"), threads=1)
    segmenter = Segmenter(network)
    shrunk, _ = read_photo_shrunk(photos[0], segmenter.size)
    (probabilities,) = segmenter.predict([shrunk])

    def read(photo: Path) -> None:
        read_photo_shrunk(photo, segmenter.size)

    def predict(photo: Path) -> None:
        segmenter.predict([np.asarray(shrunk)])

    def write(photo: Path) -> None:
        with Image.open(photo) as opened:  # its header alone
            width, height = opened.size
        drawn = segmenter.at_size(probabilities, height, width)
        (Path(folder) / f"{photo.stem}.png").write_bytes(mask_png(drawn.mask))

    do = {"read": read, "network": predict, "write": write}[stage]
    for _ in map_ahead(do, photos, len(os.sched_getaffinity(0))):
        pass


if __name__ == "__main__":
    main()
