"""Photos -> probabilities -> masks, one at a time or as a stream.

The network sees every photo squeezed to its own square size; its probabilities are enlarged to
the photo's size first and thresholded after; of that, the largest region is the mask.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionseg import images, store
from lesionseg.errors import LesionsegError, as_result
from lesionseg.images import Mask, Photo, Probabilities, Source
from lesionseg.network.device import out_of_memory_says
from lesionseg.network.runtime import Network, open_network
from lesionseg.segmentation.postprocess import keep_largest_region
from lesionseg.segmentation.quality import agreement
from lesionseg.threads import map_ahead

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Segmentation:
    """What was drawn on one photo of H x W pixels.

    Attributes:
        mask: (H, W) bool: where the probability is above the threshold, its largest region alone
            and without holes unless all regions were asked for.
        quality: 0 to 1, how sure the network is of this mask; see `quality.agreement`.
        soft: (size, size) float32, 0 to 1: the probabilities at the network's size.
    """

    mask: Mask
    quality: float
    soft: Probabilities

    @cached_property
    def probabilities(self) -> Probabilities:
        """(H, W) float32, 0 to 1: all that the network saw, at the photo's size."""
        return images.enlarge(self.soft, *self.mask.shape)


class Segmenter:
    """A trained network ready for photos.

    Args:
        network: by torch or by ONNX Runtime; see `runtime`.
        threshold: the probability above which a pixel is lesion, 0 to 1.
        path: the file that it was loaded from, if any.
        all_regions: keep every region and its holes, not only the largest one.

    Raises:
        LesionsegError: a threshold out of range.
    """

    def __init__(
        self,
        network: Network,
        threshold: float = 0.5,
        path: Path | None = None,
        *,
        all_regions: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise LesionsegError(f"threshold: expected 0 to 1, got {threshold:g}")
        self.network, self.path = network, path
        self.threshold, self.all_regions = threshold, all_regions
        self.checkpoint = network.provenance
        self.size = self.checkpoint.model.image_size

    def __call__(self, photo: str | Path | Photo) -> Segmentation:
        """The lesion on one photo.

        Args:
            photo: a file, or an (H, W, 3) uint8 array, RGB, 0 to 255, upright.

        Raises:
            LesionsegError: the file is no photo, or the array has another shape or dtype.
        """
        if isinstance(photo, str | Path):
            shrunk, size = images.read_photo_shrunk(Path(photo), self.size)
        else:
            fits = photo.ndim == 3 and photo.shape[2] == 3 and photo.size > 0
            if not fits or photo.dtype != np.uint8:
                raise LesionsegError(
                    f"expected a photo of (H, W, 3) uint8, got {photo.shape} {photo.dtype}"
                )
            shrunk, size = images.shrink(photo, self.size), (photo.shape[0], photo.shape[1])
        (soft,) = self.predict([shrunk])
        return self.at_size(soft, *size)

    def predict(self, photos: Sequence[Photo]) -> NDArray[np.float32]:
        """Probabilities at the network's size.

        Args:
            photos: B arrays of (size, size, 3) uint8, as `images.shrink` returns.

        Returns:
            (B, size, size) float32, 0 to 1.
        """
        return self.network(np.stack(photos))

    def at_size(self, soft: Probabilities, height: int, width: int) -> Segmentation:
        """What probabilities (size, size) float32 say of a photo of (height, width) pixels."""
        mask = images.enlarged_above(soft, height, width, self.threshold)
        mask = mask if self.all_regions else keep_largest_region(mask)
        return Segmentation(mask, agreement(soft, self.threshold), soft)


def load(
    checkpoint: str | Path | None = None,
    device: str | None = None,
    threshold: float = 0.5,
    *,
    all_regions: bool = False,
    threads: int = 0,
    few: bool = False,
) -> Segmenter:
    """A segmenter with the weights of a checkpoint.

    Args:
        checkpoint: a file, a run's folder or name, or "bundled"; left out, `LESIONSEG_CHECKPOINT`,
            else the best checkpoint of the latest run in the cache folder, else the bundled one.
        device, threads, few: as of `runtime.open_network`.
        threshold, all_regions: as of `Segmenter`.

    Raises:
        LesionsegError: no such checkpoint, or it is foreign, damaged or of a later format.
    """
    path = store.find_checkpoint(None if checkpoint is None else str(checkpoint))
    network = open_network(path, device, threads, few=few)
    return Segmenter(network, threshold, path, all_regions=all_regions)


@dataclass(frozen=True)
class _Read(Generic[T]):
    """An item whose photo was read, (size, size, 3) uint8, or could not be."""

    item: T
    photo: Photo | None = None
    size: tuple[int, int] = (0, 0)  # (height, width) of the photo itself
    error: LesionsegError = field(default_factory=LesionsegError)


def stream(
    segmenter: Segmenter,
    items: Iterable[T],
    source: Callable[[T], Source],
    finish: Callable[[T, Probabilities, tuple[int, int]], R],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[tuple[T, R | LesionsegError]]:
    """Each item with what `finish(item, soft map, (height, width))` returned, in order.

    Reading, arithmetic and finishing overlap; only a few photos, or batches of them, are in memory
    at a time. Of an item that cannot be read or finished the error comes in place of a result.

    Raises:
        LesionsegError: memory is out.
    """

    def read(item: T) -> _Read[T]:
        try:
            photo, size = images.read_photo_shrunk(source(item), segmenter.size)
            return _Read(item, photo, size)
        except LesionsegError as error:
            return _Read(item, error=as_result(error))

    def conclude(one: _Read[T], soft: Probabilities | None) -> tuple[T, R | LesionsegError]:
        if soft is None:
            return one.item, one.error
        try:
            return one.item, finish(one.item, soft, one.size)
        except LesionsegError as error:
            return one.item, as_result(error)

    def alone(item: T) -> tuple[T, R | LesionsegError]:
        one = read(item)
        return conclude(one, None if one.photo is None else segmenter.predict([one.photo])[0])

    def predicted() -> Iterator[tuple[_Read[T], Probabilities | None]]:
        loaded = map_ahead(read, items, workers)
        while batch := list(itertools.islice(loaded, batch_size)):
            photos = [one.photo for one in batch if one.photo is not None]
            soft = iter(segmenter.predict(photos) if photos else ())
            for one in batch:
                yield one, None if one.photo is None else next(soft)

    with out_of_memory_says("lower --batch-size or --workers"):
        if segmenter.network.one_by_one:
            yield from map_ahead(alone, items, workers)
        else:
            yield from map_ahead(lambda work: conclude(*work), predicted(), workers)
