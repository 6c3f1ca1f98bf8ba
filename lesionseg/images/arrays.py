"""Photos, masks and probabilities as arrays.

Layouts, everywhere: a photo is (H, W, 3) uint8 RGB, 0 to 255, upright; a mask is (H, W) bool,
True where the lesion is; probabilities are (H, W) float32, 0 to 1.
"""

import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Probabilities = NDArray[np.float32]
