"""Skin lesion segmentation for dermoscopic images.

    import lesionseg

    segmenter = lesionseg.load("bundled")     # or load("best.pt"); load(): the latest run
    result = segmenter("photo.jpg")           # or bytes, a file, a PIL image, an (H, W, 3) array
    result.mask                               # (H, W) bool
    result.quality                            # 0 to 1, how sure the network is of the mask
    result.probabilities                      # (H, W) float32, 0 to 1
    results = segmenter.map(["photo.jpg"])    # an iterator; a PhotoError in place of a bad photo

Research use only; not a medical device.
"""

from lesionseg.errors import CheckpointError, DownloadError, LesionsegError, PhotoError
from lesionseg.version import __version__

TYPE_CHECKING = False  # as `typing` takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Any

    from lesionseg.segmentation.segmenter import Segmentation, Segmenter, load

__all__ = [
    "CheckpointError",
    "DownloadError",
    "LesionsegError",
    "PhotoError",
    "Segmentation",
    "Segmenter",
    "__version__",
    "load",
]


def __getattr__(name: str) -> "Any":
    """Load the names that need NumPy when they are first used."""
    if name in ("Segmentation", "Segmenter", "load"):
        from lesionseg.segmentation import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
