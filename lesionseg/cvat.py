"""CVAT's auto-annotation: draw masks on the photos of a task.

    pip install cvat-cli
    cvat-cli --server-host URL --auth NAME task auto-annotate TASK \\
        --function-module lesionseg.cvat

The task needs a label "lesion". With `--conv-mask-to-poly` polygons are drawn. Parameters, as
`-p checkpoint=str:best.pt`: those of `create`. https://docs.cvat.ai/docs/api_sdk/cli/
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from lesionseg.errors import LesionsegError
from lesionseg.labels.annotations import LESION
from lesionseg.labels.outline import polygon, regions
from lesionseg.segmentation.segmenter import load

try:
    import cvat_sdk.auto_annotation as cvataa
    from cvat_sdk.masks import encode_mask
except ImportError as error:
    raise LesionsegError("this needs CVAT's own package: pip install cvat-cli") from error

if TYPE_CHECKING:
    from PIL.Image import Image

_LABEL = 0


class DetectionFunction:
    """Draw the lesion on a photo, as a `cvat_sdk.auto_annotation.DetectionFunction`."""

    def __init__(self, **options: Any) -> None:
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(LESION, _LABEL, type="any")]
        )
        self._segmenter = load(**options)

    def detect(self, context: Any, image: "Image") -> list[Any]:
        """Return the mask of a photo, or its regions as polygons; nothing where none is found.

        A mask with a quality below `--conf-threshold` is left out.
        """
        result = self._segmenter(image)
        if not result.mask.any() or result.quality < (context.conf_threshold or 0):
            return []
        if not context.conv_mask_to_poly:
            return [cvataa.mask(_LABEL, encode_mask(np.ascontiguousarray(result.mask)))]
        corners = (polygon(region) for region in regions(result.mask))
        return [cvataa.polygon(_LABEL, ring.ravel().tolist()) for ring in corners]


def create(
    checkpoint: str = "bundled",
    device: str | None = None,
    threshold: float | None = None,
    all_regions: bool = False,
) -> DetectionFunction:
    """Make the function, as `cvat-cli` calls it; the parameters are those of `lesionseg.load`."""
    return DetectionFunction(
        checkpoint=checkpoint, device=device, threshold=threshold, all_regions=all_regions
    )
