"""Whether probabilities are the shares of lesion that they claim to be."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import Command, drawing, examples, saved, write_pairs
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.evaluation import calibration
from lesionseg.evaluation.calibration import BINS, Counts
from lesionseg.images.arrays import Mask
from lesionseg.segmentation.segmenter import load


def constant(probability: float, lesion: Mask) -> Counts:
    return calibration.count(np.full((10, 20), probability, np.float32), lesion)


def striped(share: float, height: int = 10, width: int = 20) -> Mask:
    """A mask of which this share of the rows is lesion."""
    return np.broadcast_to(np.arange(height)[:, None] < share * height, (height, width)).copy()


@pytest.mark.parametrize(
    ("probability", "share"), [(0.0, 0.0), (1.0, 1.0), (0.7, 0.7), (0.7, 0.0), (0.1, 1.0), (0, 1)]
)
def test_the_error_is_how_far_probability_and_share_are_apart(
    probability: float, share: float
) -> None:
    summary = calibration.summarise(constant(probability, striped(share)))
    assert summary is not None
    assert summary.expected_error == pytest.approx(abs(probability - share), abs=1e-6)
    (full,) = (part for part in summary.bins if part.share)
    assert full.low <= probability <= full.high
    assert (full.share, full.probability, full.lesion) == pytest.approx(
        (1, probability, share), abs=1e-6
    )


def test_errors_of_different_bins_do_not_cancel_out() -> None:
    both = constant(0.1, striped(0.2)) + constant(0.9, striped(0.8))
    summary = calibration.summarise(both)
    assert summary is not None
    assert summary.expected_error == pytest.approx(0.1, abs=1e-6)
    within = calibration.summarise(constant(0.68, striped(0.7)) + constant(0.7, striped(0.68)))
    assert within is not None
    assert within.expected_error < 0.011  # one bin


def test_every_photo_counts_the_same_at_any_size() -> None:
    small, large = (striped(0.3, 10 * side, 20 * side) for side in (1, 7))
    assert (constant(0.4, small) == constant(0.4, large)).all()
    shrunk = constant(0.4, striped(0.4, 5, 9))
    assert shrunk[:, 0].sum() == 200


@given(st.integers(0, 2**32 - 1))
@examples(50)
def test_it_is_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.random((3, 12, 9), np.float32) ** 3
    truths = random.random((3, 12, 9)) < probabilities
    counts = [calibration.count(*photo) for photo in zip(probabilities, truths, strict=True)]
    summary = calibration.summarise(counts[2] + counts[0] + counts[1])
    assert summary == calibration.summarise(sum(counts, start=calibration.no_counts()))
    assert summary is not None
    values, lesion = probabilities.ravel().astype(np.float64), truths.ravel()
    place = np.minimum((probabilities.ravel() * BINS).astype(int), BINS - 1)
    expected = sum(
        (place == index).mean() * abs(values[place == index].mean() - lesion[place == index].mean())
        for index in np.unique(place)
    )
    assert summary.expected_error == pytest.approx(expected, abs=1e-5)
    assert sum(part.share for part in summary.bins) == pytest.approx(1)


def test_nothing_is_said_of_no_pixels() -> None:
    assert calibration.summarise(calibration.no_counts()) is None


def test_eval_reports_it_of_networks_alone(lesionseg: Command, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 0, 1, 2)
    checkpoint = saved(tmp_path / "a.pt", width=2, seed=3)
    words = ("eval", "--data", data, "-c", checkpoint, "--report", tmp_path / "report")
    summary = json.loads(lesionseg(*words, "--json", "--hide-names").out)
    network = load(checkpoint, "cpu")
    counts = [
        calibration.count(network(photo).low_res_probabilities, truth)
        for photo, truth in map(drawing, range(3))
    ]
    expected = calibration.summarise(sum(counts, start=calibration.no_counts()))
    assert expected is not None
    assert summary["calibration"]["expected_error"] == pytest.approx(expected.expected_error)
    shares = [part["share"] for part in summary["calibration"]["bins"]]
    assert shares == pytest.approx([part.share for part in expected.bins], abs=1e-3)
    assert len(summary["calibration"]["bins"]) == BINS
    assert "Guo et al." in summary["definitions"]
    line = f"expected calibration error of the probabilities: {expected.expected_error:.3f}"
    assert line in lesionseg(*words).out
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"calibration error of the probabilities is {expected.expected_error:.3f}:" in page
    masks = lesionseg("eval", "--data", data, "--predictions", data / "masks", "--json")
    assert json.loads(masks.out)["calibration"] is None
