"""The scores of `lesionseg eval --report DIR`, by lesion size, photo size and source.

    python benchmarks/scores_by_group.py DIR/scores.csv [--manifest isic256/manifest.csv]

The manifest has one row a photo: `id`, `official_size` (WIDTHxHEIGHT), and a column of 0 and 1 for
each set that the photo is in.
"""

import argparse
import csv
import itertools
import statistics
from collections.abc import Iterable
from pathlib import Path

from lesionseg.metrics import FAILURE_BELOW

Row = dict[str, str]
SHARES = (0.0, 0.05, 0.15, 0.3, 0.5, 1.000001)  # lesion pixels over all, of the truth
WIDTHS = (0, 1000, 1100, 2000, 10000)  # pixels
LEVELS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # of the quality flag


def read(path: Path) -> list[Row]:
    """Read the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def line(name: str, rows: Iterable[Row]) -> str:
    """Write one row of the table: how many photos, and their scores."""
    dice = sorted(float(row["dice"]) for row in rows)
    if not dice:
        return f"| {name} | 0 | | | | |"
    jaccard = [float(row["jaccard"]) for row in rows]
    tenth = dice[len(dice) // 10]
    failed = sum(value < FAILURE_BELOW for value in jaccard)
    return (
        f"| {name} | {len(dice)} | {statistics.mean(dice):.3f} | {statistics.median(dice):.3f} | "
        f"{tenth:.3f} | {failed} ({failed / len(dice):.1%}) |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--manifest", type=Path)
    options = parser.parse_args()
    rows = read(options.scores)

    print("| photos | number | Dice: mean | median | lowest tenth below | failures |")
    print("|---|---|---|---|---|---|")
    print(line("all", rows))
    for low, high in itertools.pairwise(SHARES):
        selected = [row for row in rows if low <= float(row["lesion_share_truth"]) < high]
        print(line(f"lesion {low:.0%} to {min(high, 1):.0%} of the photo", selected))
    if options.manifest:
        manifest = {row["id"]: row for row in read(options.manifest)}
        for column in (name for name in next(iter(manifest.values())) if name.startswith("isic20")):
            print(line(f"in {column}", [row for row in rows if manifest[row["id"]][column] == "1"]))
        for low, high in itertools.pairwise(WIDTHS):
            selected = [
                row
                for row in rows
                if low <= int(manifest[row["id"]]["official_size"].split("x")[0]) < high
            ]
            print(line(f"{low} to {high - 1} pixels wide originally", selected))
    dice = [float(row["dice"]) for row in rows]
    print("\nDice: ", end="")
    edges = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.000001)
    for low, high in itertools.pairwise(edges):
        print(f"{low:.2f} to {high:.2f}: {sum(low <= d < high for d in dice)}", end="; ")
    if not all(row["quality"] for row in rows):  # masks from elsewhere
        return
    print("\n\n| quality below | photos flagged | failures among them |")
    print("|---|---|---|")
    failures = sum(float(row["jaccard"]) < FAILURE_BELOW for row in rows)
    for level in LEVELS:
        flagged = [row for row in rows if float(row["quality"]) < level]
        caught = sum(float(row["jaccard"]) < FAILURE_BELOW for row in flagged)
        print(f"| {level} | {len(flagged)} of {len(rows)} | {caught} of {failures} |")


if __name__ == "__main__":
    main()
