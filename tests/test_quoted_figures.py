"""What the documents quote of the bundled weights is what docs/figures.json holds of them."""

import json
import os
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Command

from lesionseg import store
from lesionseg.evaluation import page
from lesionseg.network.runtime import checksum

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "figures.json"
SCRIPT = ROOT / "scripts" / "figures.py"
DATA = os.environ.get("LESIONSEG_TEST_DATA")
DOCUMENTS = ("README.md", "MODEL_CARD.md", "docs/embedding.md")

# Figures with three decimals that do not depend on the bundled weights, and where they are from.
OTHERS = {
    "0.836", "0.756", "0.902", "0.833",  # classic on official-val and val.txt: docs/classic.jsonl
    "0.774", "0.690", "0.865",  # the same with version 0.1.0
    "0.850", "0.764",  # the classic recipe on val.txt, 1,796 photos: docs/measurements.md
    "0.845", "0.855", "0.766", "0.777", "0.918", "0.856", "0.978",  # weights of 0.1.0: same page
    "0.854", "0.900", "0.908",  # the third look: the same page
    "0.890",  # the same, of the small network: the card
    "0.853",  # one of its two alone, the other has 0.855; Jaccard 0.777, 0.778: the card
    "0.998",  # averaging in a command
    "0.859", "0.778", "0.903", "0.841",  # a reviewer's photos, version 0.1.0
    "0.849", "0.765", "0.880", "0.807",  # ISIC 2017 test: PMC10407008
    "0.811", "0.716", "0.870", "0.786", "0.878", "0.799",  # ISIC 2018 test: as cited in the card
    "0.781", "0.857",  # two human readers: IMAplusplus
    "0.995",  # the Dice that polygons keep: tests/labels
}  # fmt: skip

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="scripts/ is not beside the tests")


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def text(document: str) -> str:
    """A document on one line, so that a sentence is found wherever its lines break."""
    return " ".join((ROOT / document).read_text("utf-8").split())


def numbers(value: Any) -> Iterator[float]:
    """All numbers within a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


def level(scores: dict[str, Any], below: float) -> dict[str, Any]:
    """How many photos, and failures, are below a level of the quality."""
    (part,) = (part for part in scores["quality_below"] if part["level"] == below)
    assert isinstance(part, dict)
    return part


def sentences(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each document, and what it must say."""
    official, large, other, demo = figures["sets"].values()
    same = figures["official-val-large-at-256"]
    flagged, flagged_other = level(official, 0.8), level(other, 0.8)
    more = level(official, 0.9)
    agreement = figures["onnx_agreement"]
    example, failure = (figures["examples"][name] for name in ("ISIC_0012684", "ISIC_0012204"))

    yield "README.md", f"(Dice {example['dice']:.2f} at a longer side of 1024)"
    yield (
        "README.md",
        f"On the official validation set, {official['reliability']['in_lowest_fifth']} of the "
        f"{official['failures']} failures are in the fifth of lowest quality, and the rank "
        f"correlation with the Dice is {official['reliability']['rank_correlation']:.2f}.",
    )
    yield (
        "README.md",
        f"`--doubtful-below 0.8` lists and counts the photos below that level, so that a person "
        f"can check them: there {flagged['photos']} of {official['photos']} photos, with "
        f"{flagged['failures']} of the {official['failures']} failures; below 0.9 they are "
        f"{more['photos']}, with {more['failures']}",
    )
    yield (
        "README.md",
        f"{official['failures'] / official['photos']:.0%} of the official validation set fail "
        "(Jaccard below 0.65)".replace("%", " %", 1),
    )
    yield (
        "MODEL_CARD.md",
        f"Their mean Dice is {large['dice']['mean']:.3f} at that size and {same['mean']:.3f} at "
        f"256x256 (Jaccard {large['jaccard']['mean']:.3f} and {same['jaccard']:.3f}): they are as "
        "hard as the other 52, and resolution makes little difference.",
    )
    for name, scores in (("Official validation", official), ("`val.txt`", other)):
        values = scores["reliability"]
        yield (
            "MODEL_CARD.md",
            f"- {name} ({scores['photos']} photos): rank correlation (Spearman) with the Dice "
            f"{values['rank_correlation']:.2f}; the tenth of lowest quality holds "
            f"{values['in_lowest_tenth']} of the {scores['failures']} failures, the fifth "
            f"{values['in_lowest_fifth']}; mean quality {scores['mean_quality']:.3f}, mean Dice "
            f"{scores['dice']['mean']:.3f}; for a single photo they differ by "
            f"{scores['quality_off_by']:.3f} on average.",
        )
    yield "MODEL_CARD.md", f"ISIC_0012204](docs/pictures/SOURCES.md), Dice {failure['dice']:.2f}."
    yield (
        "MODEL_CARD.md",
        f"the Dice is {demo['dice']['mean']:.3f} (median {demo['dice']['median']:.3f}, "
        f"{demo['photos']} images) and {demo['failures']} fail",
    )
    yield (
        "docs/embedding.md",
        f"0.8 flags {flagged['photos']} of the {official['photos']} photos of the official "
        f"validation set, with {flagged['failures']} of the {official['failures']} failures, and "
        f"{flagged_other['photos']} of {other['photos']} photos of `val.txt`, with "
        f"{flagged_other['failures']} of {other['failures']}",
    )
    most = " and ".join(
        f"{100 * photo['share']:.3f} % in {photo['id']}" for photo in agreement["most"][:2]
    )
    yield (
        "docs/embedding.md",
        f"On {agreement['photos']} real photos of 722x540 to 3072x2304 pixels, masks with all "
        f"regions differed in {100 * agreement['median']:.3f} % of the pixels (median), at most in "
        f"{most}; at most {100 * agreement['most_away_from_outline']:.3f} % of the pixels were not "
        "next to the outline",
    )


def sentences_of_small(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each document, and what it must say of the small network."""
    official = figures["small"]["sets"]["official-val"]
    low, doubtful = level(official, 0.8), level(official, 0.9)
    larger = figures["sets"]["official-val"]
    larger_doubtful = level(larger, 0.9)
    clear, clear_failures = (official[key] - doubtful[key] for key in ("photos", "failures"))
    dice, jaccard = (f"{official[score]['mean']:.3f}" for score in ("dice", "jaccard"))
    yield (
        "README.md",
        f"On the {official['photos']} photos of the official validation set the mean Dice is "
        f"{dice}, the Jaccard {jaccard}, and {official['failures']} photos fail "
        f"(`{official['command']}`)",
    )
    yield (
        "CHANGELOG.md",
        f"Official validation: Dice {dice}, Jaccard {jaccard}, {official['failures']} failures of "
        f"{official['photos']}.",
    )
    yield (
        "MODEL_CARD.md",
        f"{clear} of {official['photos']} photos have a quality of 0.9 or more, and "
        f"{clear_failures} of these fail (with `bundled` "
        f"{larger['failures'] - larger_doubtful['failures']} of "
        f"{larger['photos'] - larger_doubtful['photos']}). Below 0.9 are {doubtful['photos']} "
        f"photos with {doubtful['failures']} of the {official['failures']} failures, below 0.8 "
        f"{low['photos']} with {low['failures']}.",
    )
    yield (
        "docs/phone.md",
        f"With `-c bundled-small` on the official validation set {clear} photos are clear, "
        f"{clear_failures} of them failures, {doubtful['photos'] - low['photos']} to look at "
        f"({doubtful['failures'] - low['failures']}) and {low['photos']} not to rely on "
        f"({low['failures']})",
    )


def test_the_figures_are_of_the_bundled_weights(figures: dict[str, Any]) -> None:
    for measured, file in zip(
        (figures, figures["small"]), store.BUNDLED_FILES.values(), strict=True
    ):
        assert measured["weights"] == {
            "file": file.name,
            "sha256": checksum(file),
        }, "run `python scripts/figures.py DATA`"


def test_the_documents_say_what_was_measured(figures: dict[str, Any]) -> None:
    missing = [
        f"{document} should say: {sentence}"
        for document, sentence in [*sentences(figures), *sentences_of_small(figures)]
        if sentence not in text(document)
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_other_figure_is_quoted(figures: dict[str, Any], document: str) -> None:
    measured = {f"{value:.3f}" for value in numbers(figures)}
    percents = {f"{100 * value:.3f}" for value in numbers(figures["onnx_agreement"])}
    quoted = set(re.findall(r"(?<![\d.])[01]\.\d{3}(?!\d)", text(document)))
    assert quoted
    assert quoted <= measured | percents | OTHERS


def test_the_tables_are_those_of_the_figures(
    figures: dict[str, Any], script: dict[str, Any]
) -> None:
    names = []
    for document in script["DOCUMENTS"]:
        content = (ROOT / document).read_text("utf-8")
        assert script["render"](content, figures) == content, document
        names += [block[1] for block in script["BLOCK"].findall(content)]
    assert sorted(names) == sorted(script["TABLES"])


@pytest.mark.skipif(DATA is None, reason="LESIONSEG_TEST_DATA names no real photos")
def test_the_scores_can_be_measured_again(
    figures: dict[str, Any],
    script: dict[str, Any],
    lesionseg: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: str, folder: Path, cache: Path) -> str:
        """Run a command line within this process, its report without the page."""
        monkeypatch.setattr(page, "write", lambda *_, **__: None)
        monkeypatch.setenv(store.CACHE_VARIABLE, str(cache))
        monkeypatch.chdir(folder)
        program, *words = shlex.split(command)
        ended = lesionseg(*words)
        assert (program, ended.status) == ("lesionseg", 0)
        return ended.out

    monkeypatch.setitem(script["measure"].__globals__, "run", run)
    measured, _ = script["measure"]("official-val-large", Path(DATA or ""))
    known = figures["sets"]["official-val-large"]
    assert {key: measured[key] for key in ("command", "photos")} == {
        key: known[key] for key in ("command", "photos")
    }
    for score in script["SCORES"]:  # other processors round differently
        for value in ("mean", "median", "low", "high"):
            assert measured[score][value] == pytest.approx(known[score][value], abs=2e-3)
