"""The losses that training minimises: means over the photos of a batch, each counted alone."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lesionseg.config import Loss

SMOOTH = 1.0  # pixels, so that an empty mask has a gradient, too


def loss_of(logits: Tensor, truth: Tensor, name: Loss) -> Tensor:
    """Compute the loss of a batch.

    Args:
        logits: (B, N, H, W) float32, of N networks, whose losses are averaged.
        truth: (B, 1, H, W) float32, 0 to 1; between them on a border that was interpolated.
        name: binary cross-entropy, alone or plus the soft Dice, Jaccard or Tversky loss.

    Returns:
        A scalar, 0 or above.
    """
    truth = truth.expand_as(logits)
    loss = binary_cross_entropy_with_logits(logits, truth)
    match name:
        case "bce+dice":
            return loss + soft_dice_loss(logits, truth)
        case "bce+jaccard":
            return loss + tversky_loss(logits, truth, missed=1, excess=1)
        case "bce+tversky":
            return loss + tversky_loss(logits, truth, missed=0.7, excess=0.3)
    return loss


def soft_dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute 1 - Dice with probabilities for the mask, mean over photos (Milletari et al. 2016,
    arXiv:1606.04797, with sums in place of sums of squares)."""
    probabilities = logits.sigmoid()
    pixels = (2, 3)
    shared = (probabilities * truth).sum(pixels)
    both = probabilities.sum(pixels) + truth.sum(pixels)
    return (1 - (2 * shared + SMOOTH) / (both + SMOOTH)).mean()


def tversky_loss(logits: Tensor, truth: Tensor, missed: float, excess: float) -> Tensor:
    """Compute 1 - Tversky index, mean over photos (Salehi et al. 2017, arXiv:1706.05721).

    Args:
        logits: (B, N, H, W) float32.
        truth: of the same shape, 0 to 1.
        missed: weight of lesion that is missed; with 1 for both this is the soft Jaccard loss.
        excess: weight of skin that is included.
    """
    probabilities = logits.sigmoid()
    pixels = (2, 3)
    shared = (probabilities * truth).sum(pixels)
    wrong = missed * (truth.sum(pixels) - shared) + excess * (probabilities.sum(pixels) - shared)
    return (1 - (shared + SMOOTH) / (shared + wrong + SMOOTH)).mean()
