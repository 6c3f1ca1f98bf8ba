"""Estimate how good a mask is from the network's probabilities alone, without a ground truth."""

import numpy as np

from lesionseg.images.arrays import Probabilities

MARGIN = 0.53  # logits, at a mean distance to the threshold of 1; quality is then near the Dice
_SMALLEST = 1e-7  # a probability nearer to 0 or 1 has lost its digits in float32


def agreement(probabilities: Probabilities, threshold: float) -> float:
    """Compute the Dice of a generous and a strict outline, both where the network is less sure.

    Logits are measured from the threshold. The outlines lie below and above it by 0.53 times the
    square root of their mean distance, so that steep logits, as some networks have them, make a
    mask surer by less than their steepness. A lesion that the network is sure of, with a clear
    border, has an agreement near 1; one whose border it cannot place, or beside which it half sees
    another, a low one. A second region with a clear border, which the mask leaves out, does not
    lower it. It is not the Dice with a ground truth, but correlates with it: MODEL_CARD.md says how
    closely, docs/measurements.md how the 0.53 was chosen.

    Args:
        probabilities: (H, W) float32, 0 to 1.
        threshold: 0 to 1.

    Returns:
        0 to 1; 0 where nothing is above the threshold.
    """
    if not (probabilities > threshold).any():
        return 0.0
    logits = _logit(probabilities) - _logit(np.array(threshold, np.float32))
    margin = MARGIN * np.sqrt(np.abs(logits).mean())
    strict, generous = (np.count_nonzero(logits > level) for level in (margin, -margin))
    # Their Dice, as one lies in the other. `metrics` would take longer to import than to compute.
    return float(2 * strict / (strict + generous)) if generous else 1.0


def _logit(probabilities: Probabilities) -> Probabilities:
    inside = probabilities.clip(_SMALLEST, 1 - _SMALLEST)
    logits: Probabilities = np.log(inside / (1 - inside))
    return logits
