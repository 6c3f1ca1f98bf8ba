"""Measure what the documents quote of the bundled weights, and put it into them.

    python scripts/figures.py DATA      # measure, and write everything
    python scripts/figures.py           # write the tables of docs/figures.json only

DATA holds `official-val/`, `official-val-large/`, `isic256/` and `isic-raw/`, each with photos in
`images/` and masks in `masks/`. Needs the extra `export`, and some seven minutes on two cores.
Writes `docs/figures.json`, the tables between `<!-- figures: NAME -->` and `<!-- end -->` in
README.md and MODEL_CARD.md, and the pictures that show masks. What prose quotes is for a person to
edit: tests/test_quoted_figures.py names every sentence that no longer holds.
"""

import argparse
import csv
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lesionseg import store
from lesionseg.images.encode import overlay_png
from lesionseg.images.masks import read_mask
from lesionseg.images.photos import read_photo
from lesionseg.metrics import FAILURE_BELOW
from lesionseg.network.runtime import checksum
from lesionseg.segmentation.segmenter import load
from lesionseg.version import __version__

Figures = dict[str, Any]  # what docs/figures.json holds

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "figures.json"
PICTURES = ROOT / "docs" / "pictures"
DOCUMENTS = ("README.md", "MODEL_CARD.md")
BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

EVAL = "lesionseg eval"
SETS = {
    "official-val": "--photos official-val/images --truth official-val/masks",
    "official-val-large": "--photos official-val-large/images --truth official-val-large/masks",
    "val.txt": "--data isic256 --split val",
    "demo": "--data demo --split test",
}
SMALL = "bundled-small"
REAL_SETS = ("official-val", "official-val-large", "val.txt")
SHARES = (0.0, 0.05, 0.15, 0.3, 0.5, 1.0)  # lesion pixels over all, of the truth
LEVELS = (0.75, 0.8, 0.85, 0.9)  # of the quality
_BINS_A_ROW = 3  # of the calibration
EXAMPLES = {"example": "ISIC_0012684", "failure": "ISIC_0012204"}
EXAMPLE_HEIGHT = 240  # pixels of each picture in a strip
TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "threshold_jaccard": "threshold Jaccard",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
SCORES = tuple(TITLES)


def run(command: str, folder: Path, cache: Path) -> str:
    """Run a command line of lesionseg in a folder, with a cache folder of its own."""
    words = [sys.executable, "-m", *shlex.split(command)]
    environment = os.environ | {"LESIONSEG_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def rounded(value: Any) -> Any:
    """Round the numbers in a JSON value to six decimals."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def failed(rows: Sequence[dict[str, float]]) -> int:
    """Count the photos with a Jaccard below 0.65."""
    return sum(row["jaccard"] < FAILURE_BELOW for row in rows)


def group(rows: Sequence[dict[str, float]]) -> Figures:
    """Summarise the Dice of some photos."""
    dice = sorted(row["dice"] for row in rows)
    return {
        "photos": len(dice),
        "mean": statistics.mean(dice),
        "median": statistics.median(dice),
        "failures": failed(rows),
    }


def by_size(rows: Sequence[dict[str, float]]) -> list[Figures]:
    """Summarise the photos by the lesion's share of the truth mask."""
    groups = []
    for low, high in pairwise(SHARES):
        inside = [
            row
            for row in rows
            if low <= row["lesion_share_truth"] < high or row["lesion_share_truth"] == high == 1
        ]
        if inside:
            groups.append({"from": low, "to": high} | group(inside))
    return groups


def measure(
    name: str, data: Path, checkpoint: str = store.BUNDLED
) -> tuple[Figures, dict[str, dict[str, float]]]:
    """Score bundled weights on a set; return its figures, and the scores of each photo."""
    command = f"{EVAL} {SETS[name]} --checkpoint {checkpoint}"
    with TemporaryDirectory() as folder:
        report, cache = Path(folder, "report"), Path(folder, "cache")
        if name == "demo":
            run("lesionseg download demo", data, cache)
        options = f"--json --report {shlex.quote(str(report))}"
        summary = json.loads(run(f"{command} {options}", data, cache))
        with (report / "scores.csv").open(newline="", encoding="utf-8") as file:
            photos = {
                row.pop("id"): {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            }
    rows = list(photos.values())
    figures = {
        "command": command,
        "photos": summary["photos"],
        "failures": failed(rows),
        **{score: summary[score] for score in SCORES},
        "reliability": summary["reliability"],
        "calibration": summary["calibration"],
        "mean_quality": statistics.mean(row["quality"] for row in rows),
        "quality_off_by": statistics.mean(abs(row["quality"] - row["dice"]) for row in rows),
        "quality_below": [
            {"level": level, "photos": len(low), "failures": failed(low)}
            for level in LEVELS
            for low in [[row for row in rows if row["quality"] < level]]
        ],
        "by_size": by_size(rows),
        "worst": [
            {
                "id": worst["id"],
                "jaccard": worst["jaccard"],
                "quality": photos[worst["id"]]["quality"],
            }
            for worst in summary["worst"]
        ],
    }
    return figures, photos


def onnx_agreement(data: Path) -> Figures:
    """Compare the exported file, run as docs/embedding.md says, with `segment --all-regions`."""
    import onnxruntime

    differing, away = {}, {}
    with TemporaryDirectory() as folder:
        cache, file, masks = (Path(folder, name) for name in ("cache", "lesion.onnx", "masks"))
        run(f"lesionseg export -c bundled -o {shlex.quote(str(file))}", data, cache)
        command = "lesionseg segment isic-raw/images -o masks -c bundled --all-regions"
        run(command.replace("-o masks", f"-o {shlex.quote(str(masks))}"), data, cache)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        for path in sorted((data / "isic-raw" / "images").iterdir()):
            photo = read_photo(path)
            (own,) = session.run(["mask"], {"photo": photo[np.newaxis]})
            mask, _ = read_mask(masks / f"{path.stem}_segmentation.png", truth=False)
            pixels = mask.astype(np.uint8)
            border = cv2.dilate(pixels, np.ones((3, 3))) != cv2.erode(pixels, np.ones((3, 3)))
            other = (own[0] == 255) != mask
            differing[path.stem] = float(other.mean())
            away[path.stem] = float((other & ~border).mean())
    worst = sorted(differing, key=lambda name: -differing[name])[:3]
    return {
        "command": command,
        "photos": len(differing),
        "least": min(differing.values()),
        "median": statistics.median(differing.values()),
        "most": [{"id": name, "share": differing[name]} for name in worst],
        "most_away_from_outline": max(away.values()),
    }


def strip(photo: Path, target: Path) -> None:
    """Draw a photo, the same with the outline of its mask, and the mask, side by side."""
    pixels = read_photo(photo)
    mask = load("bundled", device="cpu")(photo).mask
    outlined = Image.open(BytesIO(overlay_png(pixels, mask))).convert("RGB")
    parts = [Image.fromarray(pixels), outlined, Image.fromarray(mask).convert("RGB")]
    width = round(EXAMPLE_HEIGHT * pixels.shape[1] / pixels.shape[0])
    picture = Image.new("RGB", (3 * width + 16, EXAMPLE_HEIGHT), "white")
    for place, part in enumerate(parts):
        small = part.resize((width, EXAMPLE_HEIGHT), Image.Resampling.LANCZOS)
        picture.paste(small, (place * (width + 8), 0))
    picture.save(target, quality=85, optimize=True)


def percent(part: int, whole: int) -> str:
    """Format a count with its share, `30 of 150 (20 %)`."""
    return f"{part} of {whole} ({part / whole:.0%})".replace("%", " %")


def interval(score: Figures) -> str:
    """Format a mean with its bootstrap interval."""
    return f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def overview(figures: Figures) -> str:
    """Write the sets with their mean scores, the official one first."""
    lines = [
        "| photos | Dice | Jaccard | threshold Jaccard | failures (Jaccard below 0.65) |",
        "|---|---|---|---|---|",
    ]
    for name, title in (
        ("official-val", "150 of the official ISIC 2017 validation set, never trained on"),
        ("val.txt", "208 of `val.txt`, cut from the training set"),
    ):
        scores = figures["sets"][name]
        means = " | ".join(interval(scores[score]) for score in SCORES[:3])
        lines.append(f"| {title} | {means} | {percent(scores['failures'], scores['photos'])} |")
    return "\n".join(lines)


def scores_table(figures: Figures) -> str:
    """Write every score of the three real sets."""
    sets = [figures["sets"][name] for name in REAL_SETS]
    lines = [
        "| mean (95 % interval) | official validation, 256x256 | the same, longer side 1024 "
        "| `val.txt`, 256x256 |",
        "|---|---|---|---|",
        "| photos | " + " | ".join(str(scores["photos"]) for scores in sets) + " |",
    ]
    for score in SCORES:
        cells = " | ".join(interval(scores[score]) for scores in sets)
        lines.append(f"| {TITLES[score]} | {cells} |")
    medians = " | ".join(f"{scores['dice']['median']:.3f}" for scores in sets)
    failures = " | ".join(percent(scores["failures"], scores["photos"]) for scores in sets)
    return "\n".join([*lines, f"| median Dice | {medians} |", f"| failures | {failures} |"])


def size_table(figures: Figures) -> str:
    """Write Dice and failures by lesion size."""
    lines = [
        "| lesion's share of the photo | set | photos | Dice: mean | median | failures |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in (("official-val", "official validation"), ("val.txt", "`val.txt`")):
        for part in figures["sets"][name]["by_size"]:
            lines.append(
                f"| {part['from']:.0%} to {part['to']:.0%} | {title} | {part['photos']} | "
                f"{part['mean']:.3f} | {part['median']:.3f} | "
                f"{percent(part['failures'], part['photos'])} |"
            )
    return "\n".join(lines).replace("% to", " % to").replace("% |", " % |").replace("  %", " %")


def quality_table(figures: Figures) -> str:
    """Write how many photos a level of quality flags, and how many failures are among them."""
    official, other = (figures["sets"][name] for name in ("official-val", "val.txt"))
    lines = [
        "| quality below | official validation: flagged | failures among them "
        "| `val.txt`: flagged | failures among them |",
        "|---|---|---|---|---|",
    ]
    for first, second in zip(official["quality_below"], other["quality_below"], strict=True):
        cells = " | ".join(
            f"{part['photos']} of {scores['photos']} | {part['failures']} of {scores['failures']}"
            for part, scores in ((first, official), (second, other))
        )
        lines.append(f"| {first['level']} | {cells} |")
    return "\n".join(lines)


def calibration_table(figures: Figures) -> str:
    """Write the share of lesion among pixels of similar probability, and the calibration error."""
    sets = [figures["sets"][name]["calibration"] for name in ("official-val", "val.txt")]
    lines = [
        "| probability of lesion | official validation: of all pixels | of these, lesion "
        "| `val.txt`: of all pixels | of these, lesion |",
        "|---|---|---|---|---|",
    ]
    for first in range(0, len(sets[0]["bins"]), _BINS_A_ROW):
        rows = [part["bins"][first : first + _BINS_A_ROW] for part in sets]
        cells = [f"{rows[0][0]['low']:.1f} to {rows[0][-1]['high']:.1f}"]
        for bins in rows:
            share = sum(part["share"] for part in bins)
            lesion = sum(part["share"] * (part["lesion"] or 0) for part in bins)
            cells += [f"{share:.1%}", f"{lesion / share:.0%}" if share else "-"]
        lines.append(f"| {' | '.join(cells)} |".replace("%", " %"))
    errors = [f"{part['expected_error']:.3f}" for part in sets]
    lines.append(f"| **expected calibration error** | **{errors[0]}** | | **{errors[1]}** | |")
    return "\n".join(lines)


def small_table(figures: Figures) -> str:
    """Write the scores of the small weights, then how well it knows where it fails."""
    sets = [figures["small"]["sets"][name] for name in REAL_SETS]
    correlations = " | ".join(f"{part['reliability']['rank_correlation']:.2f}" for part in sets)
    errors = " | ".join(f"{part['calibration']['expected_error']:.3f}" for part in sets)
    return (
        f"{scores_table(figures['small'])}\n"
        f"| rank correlation of the quality with the Dice | {correlations} |\n"
        f"| expected calibration error | {errors} |"
    )


TABLES: dict[str, Callable[[Figures], str]] = {
    "overview": overview,
    "scores": scores_table,
    "by-size": size_table,
    "quality": quality_table,
    "calibration": calibration_table,
    "small": small_table,
}


def render(text: str, figures: Figures) -> str:
    """Replace every block of a document with its table."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]](figures)}\n{block[3]}", text)


def measure_small(data: Path) -> Figures:
    """Measure the small weights: their scores, quality and calibration, on real photos."""
    sets = {name: measure(name, data, SMALL)[0] for name in REAL_SETS}
    for scores in sets.values():
        del scores["by_size"]
    figures: Figures = rounded({"weights": weights(SMALL), "sets": sets})
    return figures


def weights(name: str) -> Figures:
    """Name the file of bundled weights, with its checksum."""
    file = store.BUNDLED_FILES[name]
    return {"file": file.name, "sha256": checksum(file)}


def measure_all(data: Path) -> Figures:
    """Measure every figure."""
    sets, scores = {}, {}
    for name in SETS:
        sets[name], scores[name] = measure(name, data)
    same = [scores["official-val"][name] for name in scores["official-val-large"]]
    figures: Figures = rounded(
        {
            "made_by": "python scripts/figures.py DATA",
            "weights": weights(store.BUNDLED),
            "version": __version__,
            "sets": sets,
            "official-val-large-at-256": group(same)
            | {"jaccard": statistics.mean(row["jaccard"] for row in same)},
            "onnx_agreement": onnx_agreement(data),
            "examples": {name: scores["official-val-large"][name] for name in EXAMPLES.values()},
            "small": measure_small(data),
        }
    )
    return figures


def main() -> None:
    """Measure if there is data, and write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    data = parser.parse_args().data
    if data:
        FILE.write_text(json.dumps(measure_all(data), indent=1) + "\n", encoding="utf-8")
        for name, photo in EXAMPLES.items():
            strip(PICTURES / f"{photo}.jpg", PICTURES / f"{name}.jpg")
    figures = json.loads(FILE.read_text("utf-8"))
    for document in DOCUMENTS:
        path = ROOT / document
        path.write_text(render(path.read_text("utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
