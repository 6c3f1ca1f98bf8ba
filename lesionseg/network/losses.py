"""The losses that training minimises: means over the photos of a batch, each counted alone."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lesionseg.config import Loss

SMOOTH = 1.0  # pixels, so that an empty mask has a gradient, too


def loss_of(logits: Tensor, truth: Tensor, name: Loss) -> Tensor:
    """Compute the loss of a batch.

    Args:
        logits: (B, 1, H, W) float32.
        truth: (B, 1, H, W) float32, 0 to 1; between them on a border that was interpolated.
        name: binary cross-entropy, alone or plus the soft Dice loss.

    Returns:
        A scalar, 0 or above.
    """
    loss = binary_cross_entropy_with_logits(logits, truth)
    return loss if name == "bce" else loss + soft_dice_loss(logits, truth)


def soft_dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice with probabilities for the mask, mean over photos (Milletari et al. 2016,
    arXiv:1606.04797, with sums in place of sums of squares)."""
    probabilities = logits.sigmoid()
    pixels = (1, 2, 3)
    shared = (probabilities * truth).sum(pixels)
    both = probabilities.sum(pixels) + truth.sum(pixels)
    return (1 - (2 * shared + SMOOTH) / (both + SMOOTH)).mean()
