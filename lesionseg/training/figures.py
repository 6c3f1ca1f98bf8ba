"""Figures of a training: its curves, and photos with outlines.

matplotlib draws them, where the extra `figures` is installed, and is imported when it is needed.
Truth and prediction differ in colour (Okabe and Ito's, which colour-blind people can distinguish)
and in the kind of line.
"""

import importlib.util
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionseg import files
from lesionseg.data.cache import CachedPairs
from lesionseg.errors import one_line, printable
from lesionseg.extras import install_hint
from lesionseg.images.arrays import Mask, Photo
from lesionseg.metrics import confusion
from lesionseg.segmentation.postprocess import keep_largest_region
from lesionseg.training.history import History, best_epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lesionseg.training.tensorboard import TensorBoardWriter
    from lesionseg.training.trainer import Predict

CURVES, SAMPLES = "curves.png", "samples.png"  # in a run's folder
BLUE, ORANGE = "#56b4e9", "#e69f00"
TRUTH: dict[str, Any] = {"colors": BLUE, "linestyles": "solid"}
PREDICTION: dict[str, Any] = {"colors": ORANGE, "linestyles": "dashed"}
_MOST = 6  # photos in a strip
_TILE = 256  # side of each, in pixels


class TrainingFigures:
    """Draw the figures of a run again after each epoch.

    Args:
        folder: the run's, where `curves.png` and `samples.png` appear, each whole or not at all.
        validation: the photos of which a few, spread evenly, are shown.
        epochs: how many the run is to have.
        on_problem: called once, with why a figure cannot be drawn or written; training continues.
        tensorboard: also takes the scores and the strip of photos.
    """

    def __init__(
        self,
        folder: Path,
        validation: CachedPairs,
        epochs: int,
        on_problem: Callable[[str], None],
        tensorboard: "TensorBoardWriter | None" = None,
    ) -> None:
        self.folder, self.validation, self.epochs = folder, validation, epochs
        self.rows = spread(len(validation), _MOST)
        self.on_problem, self.tensorboard = on_problem, tensorboard
        self.failed = False

    def __call__(self, history: History, predict: "Predict") -> None:
        """Draw them; `trainer.train` calls it as its `on_epoch`."""
        try:
            if importlib.util.find_spec("matplotlib") is None:
                self._say(f"no {CURVES} and {SAMPLES}; to draw them, {install_hint('figures')}")
                if self.tensorboard:
                    self.tensorboard.write(self.folder, history)
                return
            files.write(self.folder / CURVES, curves_png(history, self.epochs))
            strip = samples_png(
                [self.validation.photos[row] for row in self.rows],
                [self.validation.masks[row].astype(bool) for row in self.rows],
                # As `segment` has it; early on the network sees specks, and they would hide all.
                [keep_largest_region(lesion > 0.5) for lesion in predict(self.rows)],
                [self.validation.ids[row] for row in self.rows],
                f"after epoch {len(history)}",
            )
            files.write(self.folder / SAMPLES, strip)
            if self.tensorboard:
                self.tensorboard.write(self.folder, history, strip)
        except Exception as error:  # whatever it is, it is not worth a training
            self._say(
                f"no figures after epoch {len(history)} (later failures are not reported): "
                f"{one_line(error)}"
            )

    def _say(self, problem: str) -> None:
        """Report the first problem of a run."""
        if not self.failed:
            self.on_problem(problem)
        self.failed = True


def spread(count: int, most: int) -> list[int]:
    """Choose at most `most` of the numbers below `count`, evenly, with the first and the last."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, most)).round()]


def curves_png(history: History, epochs: int) -> bytes:
    """Draw losses, scores and learning rate over the epochs, as a PNG of 1200 x 400 pixels.

    Args:
        history: a row for each epoch; not empty.
        epochs: how many there are to be.
    """
    figure = _figure(12, 4)
    done = [scores.epoch for scores in history]

    def line(axes: "Axes", name: str, label: str, **look: Any) -> None:
        values = [getattr(scores, name) for scores in history]
        axes.plot(done, values, label=label, marker=".", **look)

    figure.subplots_adjust(left=0.06, right=0.99, top=0.83, bottom=0.13, wspace=0.2)
    losses, overlaps, rate = figure.subplots(1, 3)
    best = best_epoch(history)
    line(losses, "train_loss", "training", color=BLUE)
    line(losses, "val_loss", "validation", color=ORANGE, linestyle="dashed")
    losses.set_title("loss")
    line(overlaps, "dice", "Dice", color=BLUE)
    line(overlaps, "jaccard", "Jaccard", color=ORANGE, linestyle="dashed")
    low_res = [(row.epoch, row.low_res_dice) for row in history if row.low_res_dice is not None]
    if low_res:
        label = "Dice at the size trained"
        overlaps.plot(*zip(*low_res, strict=True), label=label, color=BLUE, linestyle="dotted")
    overlaps.plot(best.epoch, best.dice, "k*", markersize=11, label="best Dice")
    overlaps.set_title("mean over the validation photos")
    line(rate, "learning_rate", "learning rate", color=BLUE)
    rate.set_title("learning rate")
    rate.set_ylim(bottom=0)
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    for axes in (losses, overlaps, rate):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max(epochs, len(history)) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    losses.legend()
    overlaps.legend()
    figure.suptitle(
        f"epoch {len(history)} of {epochs}; best: epoch {best.epoch}, Dice {best.dice:.4f}"
    )
    return _png(figure)


def samples_png(
    photos: Sequence[Photo],
    truths: Sequence[Mask],
    predictions: Sequence[Mask],
    names: Sequence[str],
    title: str,
) -> bytes:
    """Draw photos side by side, each with the outlines of the truth and of the network, as a PNG.

    Args:
        photos: (size, size, 3) uint8 each; at least one.
        truths: (size, size) bool.
        predictions: (size, size) bool.
        names: what to call each; the Dice of prediction with truth is written beside.
        title: which state of the network it is.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    # All in one, which takes a third of the time of a plot for each; nothing is drawn in gaps.
    gap = max(1, photos[0].shape[0] // 32)
    strip = _beside(photos, gap, 255)
    height, width = strip.shape[:2]
    tall = _TILE / 100
    figure = _figure(tall * width / height, tall + 1)
    axes = figure.add_axes((0, 0.5 / (tall + 1), 1, tall / (tall + 1)))
    axes.imshow(strip)
    axes.set_axis_off()
    halo = withStroke(linewidth=3, foreground="black", alpha=0.6)
    for masks, look in ((truths, TRUTH), (predictions, PREDICTION)):
        if any(mask.any() and not mask.all() for mask in masks):
            levels = _beside([mask.astype(np.float32) for mask in masks], gap, np.nan)
            axes.contour(levels, [0.5], linewidths=1.6, path_effects=[halo], **look)
    for number, (name, truth, mask) in enumerate(zip(names, truths, predictions, strict=True)):
        axes.text(
            number * (height + gap),
            -gap,
            f"{printable(name)[-24:]}\nDice {confusion(mask, truth).dice:.3f}",
            fontsize="small",
            parse_math=False,
        )
    lines = [
        Line2D([], [], color=look["colors"], linestyle=look["linestyles"], linewidth=2, label=label)
        for look, label in ((TRUTH, "truth"), (PREDICTION, f"network {title}"))
    ]
    columns = min(2, len(photos))
    figure.legend(handles=lines, loc="lower left", ncols=columns, frameon=False, fontsize="small")
    return _png(figure)


def _beside(pictures: Sequence[NDArray[Any]], gap: int, between: float) -> NDArray[Any]:
    """Put pictures of one size in a row, with columns of the value `between` between them."""
    empty = np.full_like(pictures[0][:, :gap], between)
    return np.concatenate([part for picture in pictures for part in (empty, picture)][1:], axis=1)


def _figure(width: float, height: float) -> "Figure":
    """Make a figure of so many hundreds of pixels; without pyplot, it opens no window."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=100)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of a letter that the font does not have
        figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()
