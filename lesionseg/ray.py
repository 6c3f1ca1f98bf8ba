"""Segment photos on the hosts of a Ray cluster: `python -m lesionseg.ray --help`.

Ray Data sends batches of file names to workers on all hosts and restarts lost workers. Ray is an
extra; nothing else in the package imports this module.
"""

import argparse
from pathlib import Path
from typing import Any

from lesionseg import files
from lesionseg.data.filenames import MASK, is_mask_name, list_images
from lesionseg.errors import LesionsegError
from lesionseg.extras import install_hint
from lesionseg.images.png import mask_png
from lesionseg.segmentation.segmenter import load

_COLUMNS = ("photo", "mask", "quality", "error")
_BATCH = 16  # photos that a worker gets at a time


class Worker:
    """Hold the network in one of Ray's processes, for `map_batches`.

    Args:
        checkpoint: as for `load`; a file must be there on every host.
        masks: the folder for the masks, the same on every host.
        device: as for `load`.

    Raises:
        CheckpointError: as `load`.
    """

    def __init__(self, checkpoint: str, masks: str, device: str | None = None) -> None:
        self._segmenter = load(checkpoint, device, threads=1)
        self._masks = Path(masks)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Segment a batch of photos and write their masks.

        Args:
            batch: the paths under "photo".

        Returns:
            A row per photo: "photo", "mask", "quality" and "error"; None where there is none.
        """
        rows = [self._segment(Path(photo)) for photo in batch["photo"]]
        return {name: [row[name] for row in rows] for name in _COLUMNS}

    def _segment(self, photo: Path) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(_COLUMNS) | {"photo": str(photo)}
        mask = self._masks / f"{photo.stem}{MASK}.png"
        try:
            result = self._segmenter(photo)
            files.write(mask, mask_png(result.mask))
        except LesionsegError as error:  # a bad photo does not stop the others
            return row | {"error": str(error)}
        return row | {"mask": str(mask), "quality": result.quality}


def segment(
    photos: Path,
    masks: Path,
    results: Path,
    checkpoint: str = "bundled",
    *,
    workers: int = 2,
    gpus: float = 0,
) -> None:
    """Segment the photos in a folder on a Ray cluster; start one on this host if there is none.

    Args:
        photos: a folder that every host has under the same path, as all others.
        masks: gets `<name>_segmentation.png` for each photo, the masks of `lesionseg segment`.
        results: gets JSON lines of photo, mask, quality and error, in any order.
        checkpoint: a file, "bundled" or "bundled-small".
        workers: processes in the cluster that each hold the network.
        gpus: GPUs of each worker.

    Raises:
        LesionsegError: Ray is not installed, no photos, or two photos with one name.
    """
    try:
        from ray import data
    except ImportError as error:
        raise LesionsegError(f"this needs Ray: {install_hint('ray')}") from error
    photos, masks, results = photos.absolute(), masks.absolute(), results.absolute()
    paths = [path for path in list_images(photos) if not is_mask_name(path)]
    if not paths:
        raise LesionsegError(f"{photos}: no photos in this folder")
    path_of: dict[str, Path] = {}
    for path in paths:
        if (other := path_of.setdefault(path.stem, path)) != path:
            raise LesionsegError(f"{other} and {path} would both give {path.stem}{MASK}.png")
    masks.mkdir(parents=True, exist_ok=True)
    data.from_items([{"photo": str(path)} for path in paths]).map_batches(
        Worker,
        fn_constructor_args=(checkpoint, str(masks), "cuda" if gpus else None),
        batch_size=_BATCH,
        num_cpus=None if gpus else 1,
        num_gpus=gpus or None,
        compute=data.ActorPoolStrategy(size=workers),
    ).write_json(str(results))


def main() -> None:
    """Parse the command line and run `segment`."""
    parser = argparse.ArgumentParser(prog="python -m lesionseg.ray")
    parser.description = "Segment the photos in a folder on a Ray cluster."
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("masks", type=Path, help="folder for the masks")
    parser.add_argument("results", type=Path, help="folder for JSON lines, one per photo")
    parser.add_argument(
        "checkpoint", nargs="?", default="bundled", help="file, bundled or bundled-small"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes in the cluster")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each worker")
    options = parser.parse_args()
    try:
        segment(**vars(options))
    except LesionsegError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
