import math
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lesionseg.errors import LesionsegError
from lesionseg.images.masks import read_mask
from lesionseg.metrics import (
    METRICS,
    Confusion,
    Mask,
    PhotoScore,
    Reliability,
    confusion,
    reliability,
    summarise,
)

Pixels = Mask | list[list[int]]

property_test = examples(100)


@st.composite
def drawn_mask(draw: st.DrawFn, shape: tuple[int, int]) -> Mask:
    """Empty, full, disc-like or noise."""
    kind = draw(st.sampled_from(("empty", "full", "disc", "noise")))
    if kind == "noise":
        return draw(arrays(bool, shape))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centre = draw(st.integers(0, shape[0])), draw(st.integers(0, shape[1]))
    radius = {"empty": 0, "full": 1000, "disc": draw(st.integers(1, 12))}[kind]
    disc: Mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    return disc


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    return draw(drawn_mask(shape)), draw(drawn_mask(shape))


confusions = st.builds(Confusion, *[st.integers(0, 1000)] * 4).filter(
    lambda c: c.true_positive + c.false_positive + c.false_negative + c.true_negative
)


def all_scores(counts: Confusion) -> dict[str, float]:
    return {name: getattr(counts, name) for name in METRICS}


def naive_scores(
    prediction: Pixels, truth: Pixels, lesion: Callable[[int], bool] = bool
) -> dict[str, float | Fraction]:
    """The official rules once more, over sets of pixels: (H, W) nested sequences of values."""
    pixels: set[tuple[int, int]] = set()
    there: set[tuple[int, int]] = set()
    everywhere: set[tuple[int, int]] = set()
    for row in range(len(truth)):
        for column in range(len(truth[row])):
            everywhere.add((row, column))
            if lesion(prediction[row][column]):
                pixels.add((row, column))
            if lesion(truth[row][column]):
                there.add((row, column))
    skin = everywhere - there
    nothing = not pixels and not there
    jaccard = 1.0 if nothing else len(pixels & there) / len(pixels | there)
    return {
        "dice": 1.0 if nothing else 2 * len(pixels & there) / (len(pixels) + len(there)),
        "jaccard": jaccard,
        "threshold_jaccard": 0.0 if jaccard < 0.65 else jaccard,
        "accuracy": 1 - Fraction(len(pixels ^ there), len(everywhere)),
        "sensitivity": len(pixels & there) / len(there) if there else 1.0,
        "specificity": len(skin - pixels) / len(skin) if skin else 1.0,
    }


@property_test
@given(mask_pairs())
def test_scores_are_those_of_the_naive_rule(pair: tuple[Mask, Mask]) -> None:
    assert all_scores(confusion(*pair)) == pytest.approx(naive_scores(*pair), rel=1e-15)


@property_test
@given(mask_pairs())
def test_counts_are_those_of_a_loop_over_the_pixels(pair: tuple[Mask, Mask]) -> None:
    seen = list(zip(pair[0].ravel().tolist(), pair[1].ravel().tolist(), strict=True))
    kinds = ((True, True), (True, False), (False, True), (False, False))
    expected = [seen.count(both) for both in kinds]
    assert confusion(*pair) == Confusion(*expected)


@property_test
@given(mask_pairs())
def test_identities_between_the_scores(pair: tuple[Mask, Mask]) -> None:
    prediction, truth = pair
    straight, swapped = confusion(prediction, truth), confusion(truth, prediction)
    inverse = confusion(~prediction, ~truth)
    assert straight.dice == pytest.approx(2 * straight.jaccard / (1 + straight.jaccard))
    assert (straight.dice, straight.jaccard) == (swapped.dice, swapped.jaccard)
    assert (straight.sensitivity, straight.specificity) == (
        inverse.specificity,
        inverse.sensitivity,
    )
    assert straight.accuracy == inverse.accuracy == swapped.accuracy
    assert straight.threshold_jaccard == (straight.jaccard if straight.jaccard >= 0.65 else 0)
    assert all(0 <= value <= 1 for value in all_scores(straight).values())
    assert set(all_scores(confusion(truth, truth)).values()) == {1.0}
    assert (straight.jaccard == 1) == (prediction == truth).all()


EMPTY, LEFT, FULL = (
    np.zeros((4, 6), bool),
    np.arange(24).reshape(4, 6) % 6 < 3,
    np.ones((4, 6), bool),
)


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),  # expected in the order of METRICS
    [
        pytest.param(EMPTY, EMPTY, (1, 1, 1, 1, 1, 1), id="nothing to find, nothing found"),
        pytest.param(LEFT, EMPTY, (0, 0, 0, 0.5, 1, 0.5), id="truth empty: sensitivity 1"),
        pytest.param(FULL, EMPTY, (0, 0, 0, 0, 1, 0), id="truth empty, all found"),
        pytest.param(EMPTY, LEFT, (0, 0, 0, 0.5, 0, 1), id="nothing found"),
        pytest.param(LEFT, FULL, (2 / 3, 0.5, 0, 0.5, 0.5, 1), id="truth full: specificity 1"),
        pytest.param(EMPTY, FULL, (0, 0, 0, 0, 0, 1), id="truth full, nothing found"),
        pytest.param(FULL, FULL, (1, 1, 1, 1, 1, 1), id="truth full, all found"),
        pytest.param(~LEFT, LEFT, (0, 0, 0, 0, 0, 0), id="all wrong"),
    ],
)
def test_edge_rules(prediction: Mask, truth: Mask, expected: tuple[float, ...]) -> None:
    assert tuple(all_scores(confusion(prediction, truth)).values()) == expected


def test_a_jaccard_of_exactly_0_65_is_no_failure() -> None:
    at, below = Confusion(13, 3, 4, 5), Confusion(1299, 300, 400, 5)
    assert (at.jaccard, at.threshold_jaccard) == (0.65, 0.65)
    assert 0.649 < below.jaccard < 0.65
    assert below.threshold_jaccard == 0
    assert summarise([at, below, at, at]).failures == 0.25


@pytest.mark.parametrize("shape", [(6, 4), (1, 6), (4, 1), (24,), (4, 6, 1)])
def test_masks_of_another_size_are_an_error(shape: tuple[int, ...]) -> None:
    got = " x ".join(map(str, shape))
    with pytest.raises(LesionsegError, match=rf"expected .* 4 x 6 .*, got {got}$"):
        confusion(np.zeros(shape, bool), FULL)


def test_masks_that_are_not_bool_are_an_error() -> None:
    with pytest.raises(TypeError, match="uint8"):
        confusion(FULL.astype(np.uint8), FULL)
    with pytest.raises(TypeError, match="float32"):
        confusion(FULL, FULL.astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


KINDS = {  # the values a file holds, and those above which a pixel is lesion
    "0/255": ((0, 255), 128),
    "0/1": ((0, 1), 0),
    "soft": ((0, 1, 2, 126, 127, 128, 129, 130, 200, 254, 255), 128),
}


@examples(60)
@given(st.data(), st.sampled_from(sorted(KINDS)), st.sampled_from(("png", "bmp", "tif")))
def test_mask_files_score_as_the_naive_rule_says(
    folder: Path, data: st.DataObject, kind: str, suffix: str
) -> None:
    values, above = KINDS[kind]
    shape = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    written: list[list[list[int]]] = []
    read: list[Mask] = []
    for name in ("prediction", "truth"):
        pixels = data.draw(arrays(np.uint8, shape, elements=st.sampled_from(values)))
        if kind == "soft":
            pixels[-1, -1] = 255  # nothing above 128 would be refused as labels
        Image.fromarray(pixels).save(folder / f"{name}.{suffix}")
        written.append(pixels.tolist())
        read.append(read_mask(folder / f"{name}.{suffix}")[0])
    prediction, truth = written
    expected = naive_scores(prediction, truth, lesion=lambda value: value > above)
    assert all_scores(confusion(*read)) == pytest.approx(expected, rel=1e-15)


def test_a_set_scores_the_mean_over_photos_and_is_not_pooled() -> None:
    large, small = Confusion(9000, 0, 0, 1000), Confusion(0, 50, 50, 9900)
    pooled = Confusion(9000, 50, 50, 10900)
    summary = summarise([large, small])
    assert summary.photos == 2
    assert summary.dice.mean == summary.jaccard.mean == summary.dice.median == 0.5
    assert pooled.dice > 0.99
    assert summary.failures == 0.5


@property_test
@given(st.lists(confusions, min_size=1, max_size=30))
def test_means_medians_and_failures_are_the_plain_ones(scores: list[Confusion]) -> None:
    summary = summarise(scores)
    for name in METRICS:
        values = sorted(getattr(score, name) for score in scores)
        middle = (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2
        statistic = getattr(summary, name)
        assert statistic.mean == pytest.approx(sum(values) / len(values), rel=1e-13)
        assert statistic.median == pytest.approx(middle, rel=1e-15)
        assert (
            values[0] - 1e-12
            <= statistic.low
            <= statistic.mean
            <= statistic.high
            <= values[-1] + 1e-12
        )
    assert summary.failures == [s.jaccard < 0.65 for s in scores].count(True) / len(scores)


@examples(30)
@given(st.data(), st.lists(confusions, min_size=2, max_size=30))
def test_the_summary_does_not_depend_on_the_order_nor_on_the_run(
    data: st.DataObject, scores: list[Confusion]
) -> None:
    assert summarise(data.draw(st.permutations(scores))) == summarise(scores)


def some_scores(count: int) -> list[Confusion]:
    counts = np.random.default_rng(count).integers(0, 1000, (count, 4))
    return [Confusion(*row) for row in counts.tolist()]


def test_the_interval_is_that_of_the_normal_approximation_for_many_photos() -> None:
    scores = some_scores(400)
    summary = summarise(scores)
    for name in METRICS:
        values = [getattr(score, name) for score in scores]
        half = 1.96 * float(np.std(values)) / math.sqrt(len(values))
        statistic = getattr(summary, name)
        assert statistic.high - statistic.mean == pytest.approx(half, rel=0.15)
        assert statistic.mean - statistic.low == pytest.approx(half, rel=0.15)


def test_the_interval_shrinks_with_the_root_of_the_number_of_photos() -> None:
    few, many = summarise(some_scores(50)).dice, summarise(some_scores(50) * 16).dice
    assert many.mean == pytest.approx(few.mean)
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(1 / 4, rel=0.15)


def test_one_photo_and_equal_photos_have_an_interval_of_no_width() -> None:
    score = Confusion(1, 7, 2, 3)
    assert summarise([score]).dice.low == summarise([score]).dice.high == score.dice
    for count in range(2, 40):  # numpy's mean of equal numbers is often one rounding off
        for hit in (1, 2, 3):
            equal = summarise([Confusion(hit, 13 - hit, 0, 0)] * count).jaccard
            assert equal.low <= equal.mean <= equal.high
            assert (equal.low, equal.high) == pytest.approx((hit / 13, hit / 13), rel=1e-14)


def test_ten_thousand_photos_are_summarised_in_little_memory() -> None:
    scores = some_scores(10_000)
    tracemalloc.start()
    try:
        summarise(scores)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


def test_a_set_of_no_photos_is_an_error() -> None:
    with pytest.raises(LesionsegError, match="at least one"):
        summarise([])


def judged(*photos: tuple[float | None, int]) -> list[PhotoScore]:
    """Photos of a quality each, with a Jaccard of so many hundredths."""
    return [
        PhotoScore(str(number), Confusion(hits, 100 - hits, 0, 0), 10, 10, quality)
        for number, (quality, hits) in enumerate(photos)
    ]


def correlation(*photos: tuple[float | None, int]) -> float | None:
    result = reliability(judged(*photos))
    assert result is not None
    return result.rank_correlation


@pytest.mark.parametrize(
    ("photos", "expected"),
    [
        (((0.1, 10), (0.2, 20), (0.9, 21)), 1),
        (((0.1, 90), (0.2, 20), (0.9, 10)), -1),
        (((0.1, 10), (0.2, 40), (0.3, 30), (0.9, 20)), 0.2),  # 1 - 6 (0 + 4 + 0 + 4) / (4 * 15)
        # Ranks 2.5, 4, 1, 2.5 and 2, 4, 1, 3: products sum to 4.5, squares to 4.5 and 5.
        (((0.2, 20), (0.9, 40), (0.1, 10), (0.2, 30)), math.sqrt(0.9)),
        # Ranks 2, 2, 2, 4 and 1.5, 1.5, 3.5, 3.5: products sum to 2, squares to 3 and 4.
        (((0.1, 10), (0.1, 10), (0.1, 30), (0.2, 30)), 1 / math.sqrt(3)),
    ],
)
def test_the_rank_correlation_by_hand(photos: Sequence[tuple[float, int]], expected: float) -> None:
    assert correlation(*photos) == pytest.approx(expected)


def naive_ranks(values: list[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values
    ]


qualities = st.one_of(st.sampled_from((0.0, 0.5, 1.0)), st.floats(0, 1))


@property_test
@given(st.lists(st.tuples(qualities, st.integers(0, 100)), min_size=1, max_size=25))
def test_reliability_is_that_of_the_naive_rule(photos: list[tuple[float, int]]) -> None:
    result = reliability(judged(*photos))
    assert result is not None
    quality, hits = ([float(photo[which]) for photo in photos] for which in (0, 1))
    if len({*quality}) > 1 and len({*hits}) > 1:
        expected = statistics.correlation(naive_ranks(quality), naive_ranks(hits))
        assert result.rank_correlation == pytest.approx(expected, abs=1e-9)
    else:
        assert result.rank_correlation is None
    failures = sum(hit < 65 for hit in hits)
    assert 0 <= result.in_lowest_tenth <= result.in_lowest_fifth <= failures


def test_where_the_failures_are() -> None:
    failed = {0, 2, 3, 4, 5, 20}  # of 25 photos; 3 are the lowest tenth, 5 the lowest fifth
    photos = [(rank / 25, 64 if rank in failed else 65) for rank in range(25)]
    result = reliability(judged(*photos[::-1]))
    assert result is not None
    assert (result.in_lowest_tenth, result.in_lowest_fifth) == (2, 4)


def test_what_is_constant_has_no_rank_correlation() -> None:
    assert correlation((0.5, 10), (0.5, 20), (0.5, 90)) is None
    assert correlation((0.1, 10), (0.2, 10), (0.3, 10)) is None
    assert reliability(judged((0.1, 10))) == Reliability(None, 1, 1)


def test_masks_from_elsewhere_have_no_reliability() -> None:
    assert reliability([]) is None
    assert reliability(judged((None, 10), (None, 20))) is None
    assert reliability(judged((0.5, 10), (None, 20), (0.6, 30))) is None


def test_the_import_is_light() -> None:
    code = (
        "import sys, lesionseg.metrics; sys.exit(any(m in sys.modules for m in ('PIL', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
