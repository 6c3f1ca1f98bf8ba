"""The accurate recipe with one part changed at a time: ablations.

The recipe once had more parts: a moving average of the weights, weight decay, a warm-up, batches
of 16. Most rows were run around that one, "base"; those around the recipe as it is begin with
"now". Rows that begin with "larger set" are around that with an average of the weights, batches of
16 and a quarter stem, on 2,358 photos: the whole ones of isic256, and those that are known as
squares alone; give isic256 for the row "whole photos alone".

    python benchmarks/ablation.py --data DIR --output FILE [--rows NAME ...] [--seeds 0 1 2]
        [--official DIR]
    python benchmarks/ablation.py --output FILE --table

Every row is trained on the training photos and scored on the validation photos with the weights of
its last epoch (none is picked), small (width 16, 128 pixels) and short (8 epochs) where its name
says nothing else, so that all of it takes an evening on two cores. Each run adds one line of JSON
to FILE; a run that is in it already is not repeated. What was tried and is not in the package lives
here.
"""

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import third_look
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool2d,
    avg_pool2d,
    binary_cross_entropy_with_logits,
)

from lesionseg.config import configure
from lesionseg.data import augmentation, loader
from lesionseg.data.cache import CachedPairs, cache_pairs
from lesionseg.data.discovery import find
from lesionseg.data.source import Source
from lesionseg.metrics import confusion, summarise
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.losses import loss_of, soft_dice_loss
from lesionseg.network.mean import AnyUNet
from lesionseg.network.unet import Convolutions, UNet
from lesionseg.training import trainer
from lesionseg.training.material import gather
from lesionseg.training.validation import ValidationScores

BASE: dict[str, Any] = {
    "name": "accurate",
    "width": 16,
    "image_size": 128,
    "epochs": 8,
    "low_res_fraction": 0.0,
    "standardisation": "fixed",  # as it was when the first rows were run
}


def tversky(logits: Tensor, truth: Tensor, name: str) -> Tensor:
    """Compute binary cross-entropy plus focal Tversky (Abraham & Khan 2018, arXiv:1810.07842)."""
    probabilities, pixels = logits.sigmoid(), (1, 2, 3)
    hit = (probabilities * truth).sum(pixels)
    missed = ((1 - probabilities) * truth).sum(pixels)
    extra = (probabilities * (1 - truth)).sum(pixels)
    index = (hit + 1) / (hit + 0.7 * missed + 0.3 * extra + 1)
    return binary_cross_entropy_with_logits(logits, truth) + ((1 - index) ** 0.75).mean()


def lovasz(logits: Tensor, truth: Tensor, name: str) -> Tensor:
    """Compute binary cross-entropy plus the Lovasz hinge of each photo (Berman et al. 2018,
    arXiv:1705.08790)."""
    lesion = (truth > 0.5).flatten(1).float()
    errors, order = (1 - logits.flatten(1) * (2 * lesion - 1)).sort(dim=1, descending=True)
    lesion = lesion.gather(1, order)
    missed, extra = lesion.cumsum(1), (1 - lesion).cumsum(1)
    total = missed[:, -1:]
    lost = 1 - (total - missed) / (total + extra)
    slope = lost.diff(dim=1, prepend=torch.zeros_like(total))
    hinge = (errors.relu() * slope).sum(1).mean()
    return binary_cross_entropy_with_logits(logits, truth) + hinge


def dice_alone(logits: Tensor, truth: Tensor, name: str) -> Tensor:
    """Compute the soft Dice loss without cross-entropy."""
    return soft_dice_loss(logits, truth)


def squeezed() -> Any:
    """Weigh each block's channels by what two layers make of their means (Hu et al. 2018,
    arXiv:1709.01507)."""
    plain = Convolutions.__init__

    def start(self: Convolutions, *channels: int, normalise: bool, stride: int = 1) -> None:
        plain(self, *channels, normalise=normalise, stride=stride)
        count = channels[-1]
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(count, max(4, count // 8), 1),
            nn.ReLU(),
            nn.Conv2d(max(4, count // 8), count, 1),
            nn.Sigmoid(),
        )

    def forward(self: Convolutions, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            x = x * layer(x) if name == "gate" else layer(x)
        return x

    stack = ExitStack()
    stack.enter_context(patch.object(Convolutions, "__init__", start))
    stack.enter_context(patch.object(Convolutions, "forward", forward))
    return stack


def bounds(**values: Any) -> Callable[[], Any]:
    """Augment with other bounds."""
    changed = dataclasses.replace(augmentation.BOUNDS["full"], **values)
    return lambda: patch.dict(augmentation.BOUNDS, full=changed)


NO_COLOUR = dict.fromkeys(("brightness", "tint", "contrast", "saturation", "hue"), 0.0)
NO_MOVEMENT = {"zoom": (1.0, 1.0), "stretch": 0.0, "shift": 0.0}
WIDE = {
    **{"zoom": (0.7, 1.25), "stretch": 0.2, "shift": 0.15, "brightness": 25.0},
    **{"tint": 12.0, "contrast": 0.25, "saturation": 0.35, "hue": 0.12},
}


def hair() -> Any:
    """Also draw dark hairs (thin parabolas) over half of the photos, and dark corners."""
    plain = augmentation.augment

    def augment(
        photos: Tensor, masks: Tensor, size: int, seed: Any, *share: Any
    ) -> tuple[Tensor, Tensor]:
        moved, truth = plain(photos, masks, size, seed, *share)
        random = torch.Generator().manual_seed(hash(tuple(seed)) % 2**31)
        y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, size)], indexing="ij")
        for photo in moved:
            if torch.rand((), generator=random) < 0.5:
                count = int(torch.randint(3, 15, (), generator=random))
                angle, shift, bend, shade = torch.rand(4, count, 1, 1, generator=random)
                angle, shift, bend = angle * 2 * math.pi, shift * 2 - 1, bend - 0.5
                along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
                distance = (across - shift - bend * along**2).abs() * size / 2  # pixels
                cover = (1 - distance).clamp(0, 1) * (0.5 + shade / 2)
                photo *= (1 - cover.amax(0)).to(photo.device)
            if torch.rand((), generator=random) < 0.3:
                radius = 0.95 + 0.4 * torch.rand((), generator=random)
                corners = ((radius - (x**2 + y**2).sqrt()) * 20).clamp(0, 1)
                photo *= corners.to(photo.device)
        return moved, truth

    return patch.object(loader, "augment", augment)


def dropout() -> Any:
    """Drop a third of the bottleneck's channels in training."""
    plain = UNet.__init__

    def start(self: UNet, config: Any) -> None:
        plain(self, config)
        self.bottleneck.append(nn.Dropout2d(1 / 3))

    return patch.object(UNet, "__init__", start)


def residual() -> Any:
    """Add to each block's output its input, as far as the channels go (He et al. 2016,
    arXiv:1512.03385, the shortcut without weights)."""

    def forward(self: Convolutions, x: Tensor) -> Tensor:
        result: Tensor = nn.Sequential.forward(self, x)  # type: ignore[no-untyped-call]
        if result.shape[2:] != x.shape[2:]:  # the stem
            return result
        shared = min(x.shape[1], result.shape[1])
        return torch.cat([result[:, :shared] + x[:, :shared], result[:, shared:]], dim=1)

    return patch.object(Convolutions, "forward", forward)


def deep_supervision() -> Any:
    """Add the loss, at half its weight, of logits of two coarser decoder blocks (Lee et al.
    2015, arXiv:1409.5185)."""
    plain = UNet.__init__
    coarse_logits: list[Tensor] = []  # of the step at hand

    def start(self: UNet, config: Any) -> None:
        plain(self, config)
        for block in list(self.decoder)[1:3]:
            head = nn.Conv2d(block[-3].out_channels, 1, 1)  # type: ignore[index]
            block.add_module("coarse", head)  # to be trained and saved with the rest

            def forward(x: Tensor, block: Any = block, head: nn.Module = head) -> Tensor:
                for layer in block:
                    if layer is not head:
                        x = layer(x)
                if block.training:
                    coarse_logits.append(head(x))
                return x

            block.forward = forward

    def deep(logits: Tensor, truth: Tensor, name: Any) -> Tensor:
        whole = loss_of(logits, truth, name)
        for coarse in coarse_logits:
            whole = whole + 0.5 * loss_of(
                coarse.float(), adaptive_avg_pool2d(truth, (coarse.shape[2], coarse.shape[3])), name
            )
        coarse_logits.clear()
        return whole

    stack = ExitStack()
    stack.enter_context(patch.object(UNet, "__init__", start))
    stack.enter_context(patch.object(trainer, "loss_of", deep))
    return stack


def soft_borders(logits: Tensor, truth: Tensor, name: Any) -> Tensor:
    """Compute the same loss, the truth's border spread over five pixels."""
    return loss_of(logits, avg_pool2d(truth, 5, 1, 2, count_include_pad=False), name)


def averaged() -> Any:
    """Validate the moving average of the weights, with a decay of 0.995, less at first."""

    class Averaged(trainer._Trainer):
        kept: dict[str, Tensor]

        def _step(self, batch: int, photos: Tensor, masks: Tensor) -> float:
            state = self.state
            now = state.network.state_dict()
            if not state.epoch + state.photos:
                self.kept = {name: value.clone() for name, value in now.items()}
            loss = super()._step(batch, photos, masks)
            steps = (state.epoch * len(self.training) + state.photos) // self.recipe.batch_size
            decay = min(0.995, (1 + steps) / (10 + steps))
            for name, value in self.kept.items():
                if value.is_floating_point():
                    value.lerp_(now[name], 1 - decay)
            return loss

        def _validate(self) -> dict[int, ValidationScores] | None:
            network = self.state.network
            trained = {name: value.clone() for name, value in network.state_dict().items()}
            network.load_state_dict(self.kept)
            scores = super()._validate()
            network.load_state_dict(trained)
            return scores

        def _checkpoint(self, *, resumable: bool) -> Checkpoint:
            checkpoint = super()._checkpoint(resumable=resumable)
            return dataclasses.replace(checkpoint, weights=self.kept)

    return patch.object(trainer, "_Trainer", Averaged)


def decayed() -> Any:
    """Decay the weights of convolutions by 0.01, decoupled (AdamW)."""

    class Decayed(torch.optim.AdamW):
        def __init__(self, weights: Any) -> None:
            weights = list(weights)
            groups = [
                {"params": [value for value in weights if value.ndim > 1], "weight_decay": 1e-2},
                {"params": [value for value in weights if value.ndim <= 1], "weight_decay": 0.0},
            ]
            super().__init__(groups)

        def step(self, *arguments: Any, **keywords: Any) -> Any:
            self.param_groups[1]["lr"] = self.param_groups[0]["lr"]
            return super().step(*arguments, **keywords)

    return patch.object(torch.optim, "Adam", Decayed)


def warmed_up() -> Any:
    """Start the cosine after a rate that rises in a straight line through a tenth of the training;
    in the runs on record a step's rate was that of its end."""
    plain, share = trainer.learning_rate, 0.1

    def rate(recipe: Any, done: float) -> float:
        if recipe.schedule == "constant":
            return plain(recipe, done)
        if done < share:
            return recipe.learning_rate * done / share  # type: ignore[no-any-return]
        return plain(recipe, (done - share) / (1 - share))

    return patch.object(trainer, "learning_rate", rate)


def loss(function: Callable[..., Tensor]) -> Callable[[], Any]:
    """Train with another loss."""
    return lambda: patch.object(trainer, "loss_of", function)


Part = Callable[[], Any]
Row = tuple[dict[str, Any], Sequence[Part]]  # what differs from BASE, what is patched


def base(*parts: Part, without: Sequence[Part] = (), **changes: Any) -> Row:
    """Make a row around the recipe as it once was."""
    earlier_parts = [part for part in (averaged, decayed, warmed_up) if part not in without]
    return {"batch_size": 16, **changes}, (*earlier_parts, *parts)


def larger(*parts: Part, **changes: Any) -> Row:
    """Make a row for the 2,358 photos: whole ones, and squares of those that are known so alone."""
    return {"batch_size": 16, "averaging": 0.995, "stem": "quarter", **changes}, parts


CONSTANT: dict[str, Any] = {"schedule": "constant", "learning_rate": 1e-3}
ROWS: dict[str, Row] = {
    "the classic recipe and network": ({"name": "classic"}, ()),
    "base": base(),
    "cross-entropy alone": base(loss="bce"),
    "Dice loss alone": base(loss(dice_alone)),
    "cross-entropy + focal Tversky": base(loss(tversky)),
    "cross-entropy + Lovasz": base(loss(lovasz)),
    "soft borders in the truth": base(loss(soft_borders)),
    "deep supervision": base(deep_supervision),
    "constant rate 1e-3": base(**CONSTANT),
    "rate up to 1e-3": base(learning_rate=1e-3),
    "rate up to 4e-3": base(learning_rate=4e-3),
    "no weight decay": base(without=[decayed]),
    "no average of weights": base(without=[averaged]),
    "neither": base(without=[averaged, decayed]),
    "neither, constant rate 1e-3": base(without=[averaged, decayed], **CONSTANT),
    "no augmentation": base(augmentation="none"),
    "no change of colour": base(bounds(**NO_COLOUR)),
    "no zoom, stretch, shift": base(bounds(**NO_MOVEMENT)),
    "twice the bounds": base(bounds(**WIDE)),
    "drawn hair and dark corners": base(hair),
    "dropout in the bottleneck": base(dropout),
    "batch 8": base(batch_size=8),
    "no normalisation": base(normalisation="none", learning_rate=5e-4),
    "residual blocks": base(residual),
    "width 8": base(width=8),
    "width 32": base(width=32),
    "no stem (full side in the first block)": base(stem="none"),
    "24 epochs": base(epochs=24),
    "24 epochs, no augmentation": base(epochs=24, augmentation="none"),
    "24 epochs, twice the bounds": base(bounds(**WIDE), epochs=24),
    "40 epochs": base(epochs=40),
    "40 epochs, no augmentation": base(epochs=40, augmentation="none"),
    "40 epochs, no average of weights": base(without=[averaged], epochs=40),
    "40 epochs, no weight decay": base(without=[decayed], epochs=40),
    "40 epochs, constant rate 1e-3": base(epochs=40, **CONSTANT),
    "256 pixels, 6 epochs": base(image_size=256, epochs=6),
    "256 pixels, first half of 10 epochs at 128": base(
        image_size=256, epochs=10, low_res_fraction=0.5
    ),
    "now": ({}, ()),
    "now, rate up to 1e-4": ({"learning_rate": 1e-4}, ()),
    "now, weight decay": ({}, [decayed]),
    "now, cross-entropy + Lovasz": ({}, [loss(lovasz)]),
    "now, no augmentation": ({"augmentation": "none"}, ()),
    "now, no change of colour": ({}, [bounds(**NO_COLOUR)]),
    "now, no zoom, stretch, shift": ({}, [bounds(**NO_MOVEMENT)]),
    "now, turned and mirrored only": ({}, [bounds(**NO_COLOUR, **NO_MOVEMENT)]),
    "larger set": larger(),
    "larger set, no average of weights": larger(averaging=0.0),
    "larger set, whole photos alone": larger(),
    "larger set, cross-entropy alone": larger(loss="bce"),
    "larger set, Tversky": larger(loss="bce+tversky"),
    "larger set, Jaccard": larger(loss="bce+jaccard"),
    "larger set, Lovasz": larger(loss(lovasz)),
    "larger set, no augmentation": larger(augmentation="none"),
    "larger set, twice the bounds": larger(bounds(**WIDE)),
    "larger set, zoom 0.5 to 1.5": larger(bounds(zoom=(0.5, 1.5), shift=0.25)),
    "larger set, wide": larger(augmentation="wide"),
    "larger set, wide, Tversky, 128 channels, 16 epochs": larger(
        augmentation="wide", loss="bce+tversky", max_channels=128, epochs=16
    ),
    "larger set, 256 pixels, 128 channels, 10 epochs": larger(
        image_size=256, max_channels=128, epochs=10
    ),
    "larger set, strided stem": larger(stem="strided"),
    "larger set, strided stem, fifth pooling": larger(stem="strided", poolings=5, max_channels=256),
    "larger set, squeeze and excitation": larger(squeezed),
    "larger set, own mean and spread": larger(standardisation="photo"),
}


def elsewhere(network: AnyUNet, validation: CachedPairs) -> float:
    """Measure the mean Dice of the validation photos as another camera might have taken them:
    turned, zoomed, shifted and recoloured within twice the bounds of the augmentation, the same for
    all rows."""
    side, dice = validation.photos.shape[1], []
    with bounds(**WIDE)():
        for place, (photo, mask) in enumerate(
            zip(validation.photos, validation.masks, strict=True)
        ):
            taken = (
                torch.from_numpy(photo.copy()).permute(2, 0, 1)[None],
                torch.from_numpy(mask.copy())[None, None],
            )
            full = augmentation.BOUNDS["full"]
            moved, truth = augmentation.augment(*taken, side, [place], bounds=full)
            with torch.inference_mode():
                lesion = network(moved) > 0
            dice.append(confusion(lesion.numpy(), truth.numpy() > 0.5).dice)
    return statistics.mean(dice)


def look(network: AnyUNet, validation: CachedPairs, official: Path) -> dict[str, Any]:
    """Score the official validation set, and the validation photos under the third look, with the
    largest region alone, at the network's own size."""
    pairs = find(None, official / "images", official / "masks").split("all")
    sets = {
        "official": (cache_pairs(pairs, network.config.image_size, 2), third_look.as_they_are),
        **{name: (validation, change) for name, change in third_look.LOOKS.items()},
    }
    scores = {}
    for name, (photos, change) in sets.items():
        summary = summarise([*third_look.confusions(network, photos, change)])
        scores[name] = {
            "photos": summary.photos,
            "dice": summary.dice.mean,
            "jaccard": summary.jaccard.mean,
            "failures": summary.failures,
        }
    return scores


def measure(
    data: Path, row: str, seed: int, precision: str, official: Path | None
) -> dict[str, Any]:
    """Train one row with one seed; give what a line of the output says."""
    changes, parts = ROWS[row]
    model, recipe = configure({**BASE, **changes, "seed": seed, "precision": precision})
    material = gather(Source(data), model.image_size, 2, lambda done, total: None)
    began = time.perf_counter()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for part in parts:
            stack.enter_context(part())
        outcome = trainer.train(
            trainer.initial_checkpoint(model, recipe, material.data),
            material.training,
            material.validation,
            Path(folder),
            torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        )
        network = outcome.last.network()
        other = elsewhere(network, material.validation)
        looks = {"looks": look(network, material.validation, official)} if official else {}
    return {
        "row": row,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
        "train_photos": len(material.training),
        "val_photos": len(material.validation),
        "parameters": sum(value.numel() for value in UNet(model).parameters()),
        "model": dataclasses.asdict(model),
        "recipe": dataclasses.asdict(recipe),
        "history": [scores.row() for scores in outcome.history],
        "elsewhere": other,
        **looks,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Write Markdown: mean and spread over the seeds, and the difference to the base."""
    of_row: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        of_row.setdefault(line["row"], []).append(line)

    def ends(row: str, what: str) -> list[float]:
        return [line["history"][-1][what] for line in of_row[row]]

    text = [
        "| row | seeds | Dice: mean (least to most) | against the base | Jaccard | elsewhere | "
        "s an epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (row for row in ROWS if row in of_row):
        dice = ends(row, "dice")
        families = (name for name in ("now", "larger set") if row.startswith(name))
        compared = next(families, "base")
        mean = statistics.mean(dice)
        against = (
            f"{mean - statistics.mean(ends(compared, 'dice')):+.4f}" if compared in of_row else ""
        )
        other = [line["elsewhere"] for line in of_row[row] if "elsewhere" in line]
        seconds = [epoch["seconds"] for line in of_row[row] for epoch in line["history"]]
        text.append(
            f"| {row} | {len(dice)} | {mean:.4f} ({min(dice):.4f} to {max(dice):.4f}) | "
            f"{against} | {statistics.mean(ends(row, 'jaccard')):.4f} | "
            f"{f'{statistics.mean(other):.4f}' if other else ''} | "
            f"{statistics.median(seconds):.0f} |"
        )
    return "\n".join(text)


def looks_table(lines: list[dict[str, Any]]) -> str:
    """Write Markdown: Dice, Jaccard and failures of each look, means over the seeds."""
    text = ["| row | seeds | official validation | `val.txt` | camera | darker skin |"]
    text.append("|---|---|---|---|---|---|")
    for row in ROWS:
        looks = [line["looks"] for line in lines if line["row"] == row and "looks" in line]
        if not looks:
            continue
        cells = [row, str(len(looks))]
        for look_name in ("official", *third_look.LOOKS):
            dice, jaccard, failed = (
                statistics.mean(look[look_name][what] for look in looks)
                for what in ("dice", "jaccard", "failures")
            )
            failures = failed * looks[0][look_name]["photos"]
            cells.append(f"{dice:.3f} / {jaccard:.3f} / {failures:.0f}")
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def main() -> None:
    """Measure what is not yet in the output, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--official", type=Path, help="folder with images/ and masks/")
    parser.add_argument("--table", action="store_true", help="only print the table")
    options = parser.parse_args()
    if not options.data and not options.table:
        parser.error("--data names the photos to train on, --table only prints")

    def lines() -> list[dict[str, Any]]:
        text = options.output.read_text() if options.output.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    for seed in () if options.table else options.seeds:
        for row in options.rows:
            made = {(line["row"], line["seed"], line["recipe"]["precision"]) for line in lines()}
            if (row, seed, options.precision) in made:
                continue
            result = measure(options.data, row, seed, options.precision, options.official)
            with options.output.open("a") as file:
                file.write(json.dumps(result) + "\n")
            end = result["history"][-1]
            print(row, seed, f"Dice {end['dice']:.4f}", f"{result['seconds']:.0f} s", flush=True)
    print(table(lines()), looks_table(lines()), sep="\n\n")


if __name__ == "__main__":
    main()
