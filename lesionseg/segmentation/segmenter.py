"""Segment photos: photos to probabilities to masks, one at a time or as a stream.

The network sees every photo squeezed to its own square size; its probabilities are enlarged to
the photo's size and then thresholded; the largest region of the result is the mask.
"""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionseg import store
from lesionseg.errors import CheckpointError, LesionsegError, PhotoError, as_result, one_line
from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.decode import PillowImage, Source
from lesionseg.images.photos import from_pillow, is_of_one_colour, read_photo_shrunk
from lesionseg.images.resize import enlarge, enlarged_above, shrink
from lesionseg.network.device import out_of_memory_says
from lesionseg.network.ensemble import open_networks
from lesionseg.network.runtime import Network
from lesionseg.segmentation.postprocess import keep_largest_region
from lesionseg.segmentation.quality import agreement
from lesionseg.threads import map_ahead

T = TypeVar("T")
R = TypeVar("R")
PhotoLike = str | Path | Photo | PillowImage | bytes | BinaryIO

_NO_ANSWER = "the network gives no probabilities for this photo; try another --checkpoint"
_AHEAD = 4  # photos that `Segmenter.map` reads at a time, and of which it makes a batch


@dataclass(frozen=True)
class Segmentation:
    """The segmentation of one photo of H x W pixels.

    Attributes:
        mask: (H, W) bool: where the probability is above the threshold, its largest region alone
            and without holes unless all regions were asked for.
        quality: 0 to 1, how sure the network is of this mask; see `quality.agreement`.
        low_res_probabilities: (size, size) float32, 0 to 1, at the network's size.
        one_colour: whether the photo is of one colour, so that its mask means nothing; see
            `photos.is_of_one_colour`.
    """

    mask: Mask
    quality: float
    low_res_probabilities: Probabilities
    one_colour: bool = False

    @property
    def soft(self) -> Probabilities:
        """Return `low_res_probabilities`, by their name in version 0.1.0."""
        return self.low_res_probabilities

    @cached_property
    def probabilities(self) -> Probabilities:
        """Enlarge the probabilities to the photo's size: (H, W) float32, 0 to 1, all regions."""
        return enlarge(self.low_res_probabilities, *self.mask.shape)


class Segmenter:
    """Segment photos with a trained network.

    It can be pickled, and so be sent to other processes: with the weights in torch; with the path
    of its file, which must be there, in ONNX Runtime.

    Args:
        network: in torch or in ONNX Runtime; see `runtime` and `ensemble`.
        threshold: the probability above which a pixel is lesion, 0 to 1; by default the network's
            own, see `Provenance.threshold`.
        path: the file that it was loaded from, or the files of an ensemble, if any.
        all_regions: keep every region and its holes, not only the largest one.

    Raises:
        LesionsegError: a threshold out of range.
    """

    def __init__(
        self,
        network: Network,
        threshold: float | None = None,
        path: Path | Sequence[Path] | None = None,
        *,
        all_regions: bool = False,
    ) -> None:
        if threshold is None:
            threshold = network.provenance.threshold
        if not 0 <= threshold <= 1:
            raise LesionsegError(f"threshold: expected 0 to 1, got {threshold:g}")
        self.network = network
        self.paths = (path,) if isinstance(path, Path) else tuple(path or ())
        self.threshold, self.all_regions = threshold, all_regions
        self.checkpoint = network.provenance
        self.size = self.checkpoint.model.image_size

    @property
    def path(self) -> Path | None:
        """Return the file that it was loaded from; None without one, or with several."""
        return self.paths[0] if len(self.paths) == 1 else None

    def __call__(self, photo: PhotoLike) -> Segmentation:
        """Segment one photo.

        Args:
            photo: the path of a file, its content as bytes or an open binary file, an image of
                Pillow, or an (H, W, 3) uint8 array, RGB, 0 to 255, upright.

        Raises:
            PhotoError: it cannot be read as a photo, or the array has another shape or dtype.
        """
        shrunk, size = _shrunk(_source(photo), self.size)
        (probabilities,) = self.predict([shrunk])
        return self.at_size(probabilities, *size, shrunk)

    def map(self, photos: Iterable[PhotoLike]) -> Iterator[Segmentation | LesionsegError]:
        """Segment many photos, in their order; only a few are read ahead and in memory.

        Args:
            photos: each as in a call of the segmenter; they may be endless.

        Yields:
            The segmentation of each photo, or, in its place, the `PhotoError` that says why it
            cannot be read, so that one bad photo does not end the others.

        Raises:
            LesionsegError: memory is out, or `photos` is one photo.
        """
        if isinstance(photos, str | bytes | bytearray | Path):
            raise PhotoError(
                "expected a list of photos, or another iterable, got one: put it in []"
            )
        results = stream(
            self,
            photos,
            _source,
            lambda _, probabilities, size, photo: self.at_size(probabilities, *size, photo),
            batch_size=_AHEAD,
            workers=_AHEAD,
        )
        return (result for _, result in results)

    def predict(self, photos: Sequence[Photo]) -> NDArray[np.float32]:
        """Compute probabilities at the network's size.

        Args:
            photos: B arrays of (size, size, 3) uint8, as `shrink` returns.

        Returns:
            (B, size, size) float32, 0 to 1; NaN for a photo that the network has no answer to.
        """
        return self.network(np.stack(photos))

    def at_size(
        self, probabilities: Probabilities, height: int, width: int, photo: Photo | None = None
    ) -> Segmentation:
        """Turn the probabilities of a photo into its segmentation.

        Args:
            probabilities: (size, size) float32, 0 to 1, as from `predict`.
            height, width: of the photo, in pixels.
            photo: (size, size, 3) uint8, as the network saw it, where it is known.

        Raises:
            PhotoError: the probabilities are not numbers: the network has no answer.
        """
        if np.isnan(probabilities).any():
            raise PhotoError(_NO_ANSWER)
        mask = enlarged_above(probabilities, height, width, self.threshold)
        mask = mask if self.all_regions else keep_largest_region(mask)
        quality = agreement(probabilities, self.threshold)
        one_colour = photo is not None and is_of_one_colour(photo)
        return Segmentation(mask, quality, probabilities, one_colour)


class _NamedBytes(io.BytesIO):
    """The content of a file, and its name for messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def _source(photo: PhotoLike) -> Source | Photo:
    """Return a photo as a path, an open file or an array; see `Segmenter.__call__`."""
    if isinstance(photo, str | Path):
        return Path(photo)
    if isinstance(photo, bytes | bytearray | memoryview):
        return _NamedBytes(bytes(photo), "photo")
    if isinstance(photo, PillowImage):
        return from_pillow(photo)
    if isinstance(photo, np.ndarray):
        if np.issubdtype(photo.dtype, np.floating):
            raise PhotoError(
                f"expected a photo of (H, W, 3) uint8, got {photo.shape} {photo.dtype}; convert "
                "it: (photo * 255).round().astype('uint8') where its values are 0 to 1"
            )
        has_shape = photo.ndim == 3 and photo.shape[2] == 3 and photo.size > 0
        if not has_shape or photo.dtype != np.uint8:
            raise PhotoError(
                f"expected a photo of (H, W, 3) uint8, got {photo.shape} {photo.dtype}"
            )
        return photo
    content = _read(photo) if hasattr(photo, "read") else None
    if not isinstance(content, bytes):
        kind = (
            type(photo).__name__
            if content is None
            else ("a file opened as text; open it with mode 'rb'")
        )
        raise PhotoError(
            "expected a photo as a path, bytes, a file opened with mode 'rb', a Pillow image or "
            f"an (H, W, 3) uint8 array, got {kind}"
        )
    return _NamedBytes(content, str(getattr(photo, "name", "photo")))


def _read(file: BinaryIO) -> object:
    """Read an open file; give what it would read where it is open for text, which no photo is."""
    if isinstance(file, io.TextIOBase):
        return ""
    try:
        return file.read()
    except (OSError, ValueError) as error:  # the latter where it was closed
        name = getattr(file, "name", "photo")
        raise PhotoError(f"{name}: cannot read this photo: {one_line(error)}") from error


def _name_of(source: Source | Photo) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "name", "photo"))


def _shrunk(source: Source | Photo, size: int) -> tuple[Photo, tuple[int, int]]:
    """Return a photo as `read_photo_shrunk` does, from a file or an array."""
    if isinstance(source, np.ndarray):
        return shrink(source, size), (source.shape[0], source.shape[1])
    return read_photo_shrunk(source, size)


def load(
    checkpoint: str | Path | Sequence[str | Path] | None = None,
    device: str | None = None,
    threshold: float | None = None,
    *,
    all_regions: bool = False,
    threads: int = 0,
    fast_start: bool = False,
) -> Segmenter:
    """Load a segmenter with the weights of a checkpoint, or of several.

    Args:
        checkpoint: a file, a run's folder or name, "bundled" or "bundled-small"; by default
            `LESIONSEG_CHECKPOINT`, else the best checkpoint of the latest run in the cache folder
            that was not trained on synthetic images, else the bundled one. Several give the mean
            of their probabilities.
        device, threads, fast_start: as for `runtime.open_network`.
        threshold, all_regions: as for `Segmenter`.

    Raises:
        CheckpointError: no such checkpoint, an empty list or name, or one that is foreign, damaged
            or of a later format.
        LesionsegError: no such device, or a threshold out of range.
    """
    names = [checkpoint] if checkpoint is None or isinstance(checkpoint, str | Path) else checkpoint
    if not names or "" in names:
        what = "an empty name" if names else "an empty list"
        raise CheckpointError(f"expected one checkpoint or more, got {what}")
    paths = [store.find_checkpoint(None if name is None else str(name)) for name in names]
    network = open_networks(paths, device, threads, fast_start=fast_start)
    return Segmenter(network, threshold, paths, all_regions=all_regions)


@dataclass(frozen=True)
class _Loaded(Generic[T]):
    """An item whose photo was read, (size, size, 3) uint8, or could not be."""

    item: T
    name: str = ""  # of the photo, for messages
    photo: Photo | None = None
    size: tuple[int, int] = (0, 0)  # (height, width) of the photo itself
    error: LesionsegError = field(default_factory=LesionsegError)


def stream(
    segmenter: Segmenter,
    items: Iterable[T],
    source: Callable[[T], Source | Photo],
    finish: Callable[[T, Probabilities, tuple[int, int], Photo], R],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[tuple[T, R | LesionsegError]]:
    """Segment a stream of photos; yield each item with its result, in order.

    Reading, arithmetic and finishing overlap; only a few photos, or batches of them, are in memory
    at a time. If an item cannot be read or finished, its error is yielded in place of a result.

    Args:
        segmenter: the network.
        items: one for each photo.
        source: gives the photo of an item, as a path, an open file or an array; may raise
            LesionsegError.
        finish: makes the result of an item from its probabilities, (size, size) float32, 0 to 1,
            the (height, width) of its photo, and the photo as the network saw it, (size, size, 3)
            uint8; called in threads.
        batch_size: photos that a network which is `batched` gets at a time.
        workers: threads that read, finish and, unless the network is `batched`, predict.

    Raises:
        LesionsegError: memory is out.
        ValueError: a batch of no photos, which would score none without a word.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")

    def read(item: T) -> _Loaded[T]:
        try:
            photo_source = source(item)
            photo, size = _shrunk(photo_source, segmenter.size)
            return _Loaded(item, _name_of(photo_source), photo, size)
        except LesionsegError as error:
            return _Loaded(item, error=as_result(error))

    def complete(
        loaded: _Loaded[T], probabilities: Probabilities | None
    ) -> tuple[T, R | LesionsegError]:
        if probabilities is None or loaded.photo is None:
            return loaded.item, loaded.error
        if np.isnan(probabilities).any():
            return loaded.item, PhotoError(f"{loaded.name}: {_NO_ANSWER}")
        try:
            return loaded.item, finish(loaded.item, probabilities, loaded.size, loaded.photo)
        except LesionsegError as error:
            return loaded.item, as_result(error)

    def process(item: T) -> tuple[T, R | LesionsegError]:
        loaded = read(item)
        photo = loaded.photo
        return complete(loaded, None if photo is None else segmenter.predict([photo])[0])

    def predict_batches() -> Iterator[tuple[_Loaded[T], Probabilities | None]]:
        pending = map_ahead(read, items, workers)
        while batch := list(itertools.islice(pending, batch_size)):
            photos = [loaded.photo for loaded in batch if loaded.photo is not None]
            probabilities = iter(segmenter.predict(photos) if photos else ())
            for loaded in batch:
                yield loaded, None if loaded.photo is None else next(probabilities)

    with out_of_memory_says("lower --batch-size or --workers"):
        if segmenter.network.batched:
            yield from map_ahead(lambda pair: complete(*pair), predict_batches(), workers)
        else:
            yield from map_ahead(process, items, workers)
