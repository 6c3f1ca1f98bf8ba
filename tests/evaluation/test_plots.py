"""Where bars and dots stand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionseg.evaluation import plots
from lesionseg.metrics import Confusion, PhotoScore

PIXELS = 10_000


def score(name: str, lesion: int, hit: int, wrong: int = 0) -> PhotoScore:
    """A photo of 100 x 100 with so many pixels of lesion, of which some are found."""
    counts = Confusion(hit, wrong, lesion - hit, PIXELS - lesion - wrong)
    return PhotoScore(name, counts, 100, 100)


@st.composite
def photo_scores(draw: st.DrawFn) -> list[PhotoScore]:
    scores = []
    for name in range(draw(st.integers(1, 30))):
        lesion = draw(st.integers(0, PIXELS))
        wrong = draw(st.integers(0, PIXELS - lesion))
        scores.append(score(str(name), lesion, draw(st.integers(0, lesion)), wrong))
    return scores


@pytest.mark.parametrize(
    ("dice", "bar"), [(0.0, 0), (0.05, 1), (0.15, 3), (0.35, 7), (0.949, 18), (0.95, 19), (1.0, 19)]
)
def test_the_bar_that_a_value_is_in(dice: float, bar: int) -> None:
    counts = [column.count for column in plots.histogram([dice]).bars]
    assert counts == [index == bar for index in range(20)]


@given(st.lists(st.floats(0, 1), max_size=50))
def test_every_photo_is_in_one_bar_and_bars_are_as_high_as_counts(values: list[float]) -> None:
    drawn = plots.histogram(values)
    assert sum(bar.count for bar in drawn.bars) == len(values)
    top = max(bar.count for bar in drawn.bars) or 1
    for bar in drawn.bars:
        height = (plots.BOTTOM - plots.TOP) * bar.count / top
        assert bar.height == pytest.approx(height, abs=0.1)
        assert bar.y + bar.height == pytest.approx(plots.BOTTOM)
        assert plots.LEFT <= bar.x <= bar.x + bar.width <= plots.RIGHT
    assert 2 <= len(drawn.y_ticks) <= 6
    assert all(plots.TOP <= tick.at <= plots.BOTTOM for tick in drawn.y_ticks)


@given(photo_scores())
def test_every_dot_stands_between_the_axes(scores: list[PhotoScore]) -> None:
    for drawn in (plots.dice_by_size(scores), plots.dice_by_dice(scores, scores)):
        assert [dot.id for dot in drawn.dots] == [item.id for item in scores]
        for dot, item in zip(drawn.dots, scores, strict=True):
            assert plots.LEFT <= dot.x <= plots.RIGHT
            assert plots.TOP <= dot.y <= plots.BOTTOM
            assert dot.failed == (item.confusion.jaccard < 0.65)
            # A failure by Jaccard is one by Dice: it lies below the line.
            assert (dot.y > drawn.failure_y) == dot.failed or dot.y == drawn.failure_y
        xs = [tick.at for tick in drawn.x_ticks]
        assert xs == sorted(xs)
        assert (xs[0], xs[-1]) == (plots.LEFT, plots.RIGHT)


def test_the_axis_of_size_is_logarithmic() -> None:
    scores = [score("a", 100, 100), score("b", 1000, 1000), score("c", 10_000, 10_000)]
    drawn = plots.dice_by_size([*scores, score("none", 0, 0)])
    assert [tick.text for tick in drawn.x_ticks] == ["1 %", "10 %", "100 %"]
    xs = [dot.x for dot in drawn.dots]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    assert (xs[0], xs[3]) == (plots.LEFT, plots.LEFT)


def test_a_dot_above_the_line_is_better_in_the_second() -> None:
    old = [score("a", 1000, 500), score("b", 1000, 900), score("only here", 10, 5)]
    new = [score("b", 1000, 800), score("a", 1000, 1000)]
    b, a = plots.dice_by_dice(old, new).dots
    assert (b.id, a.id) == ("b", "a")

    def above(dot: plots.Dot) -> float:
        across = (dot.x - plots.LEFT) / (plots.RIGHT - plots.LEFT)
        return (plots.BOTTOM - dot.y) / (plots.BOTTOM - plots.TOP) - across

    assert above(a) == pytest.approx(1 - 2 / 3, abs=0.01)
    assert above(b) == pytest.approx(1600 / 1800 - 1800 / 1900, abs=0.01)


def test_thirds_by_size() -> None:
    scores = [score(str(n), 100 * n, 100 * n if n != 7 else 100) for n in (4, 1, 7, 2, 6, 3, 5)]
    small, middle, large = plots.size_groups(scores)
    assert (small.name, middle.name, large.name) == ("smallest", "middle", "largest")
    assert (small.photos, middle.photos, large.photos) == (2, 3, 2)
    assert (small.low, small.high, large.low, large.high) == (0.01, 0.02, 0.06, 0.07)
    assert (small.failures, middle.failures, large.failures) == (0, 0, 1)
    assert large.dice == pytest.approx((1 + 200 / 800) / 2)
    assert [group.photos for group in plots.size_groups(scores[:1])] == [1]


@given(photo_scores())
def test_the_thirds_hold_every_photo(scores: list[PhotoScore]) -> None:
    groups = plots.size_groups(scores)
    assert sum(group.photos for group in groups) == len(scores)
    mean = math.fsum(item.confusion.dice for item in scores) / len(scores)
    assert sum(group.dice * group.photos for group in groups) / len(scores) == pytest.approx(mean)
    assert all(group.low <= group.high for group in groups)
