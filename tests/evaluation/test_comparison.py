"""Several sets of masks of the same photos, side by side."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import photo, run, scored, write_photos, write_predictions
from rich.console import Console

from lesionseg.cli import tables
from lesionseg.errors import LesionsegError
from lesionseg.evaluation import page, report
from lesionseg.evaluation.candidates import short_names
from lesionseg.evaluation.comparison import Comparison
from lesionseg.metrics import paired

OLD = [photo("a", 30, 30), photo("b", 40, 40), photo("c", 20, 0), photo("d", 1, 0)]
NEW = [photo("c", 15, 5), photo("a", 60, 0), photo("b", 40, 40), photo("e", 1, 99)]


def test_differences_of_known_values() -> None:
    differences = paired(OLD, NEW)
    assert differences.photos == 3  # d and e were scored by one alone
    assert differences.jaccard.mean == pytest.approx((0.5 + 0 - 0.25) / 3)
    assert differences.dice.mean == pytest.approx((1 - 2 / 3 + 0 + 30 / 35 - 1) / 3)
    assert (differences.jaccard.better, differences.jaccard.worse) == (1, 1)
    assert (differences.dice.better, differences.dice.worse) == (1, 1)
    assert differences.jaccard.low == -0.25  # all three draws the worst: 1 in 27, above 2.5 %
    assert differences.jaccard.high == 0.5
    assert differences == paired(OLD[::-1], NEW[::-1])


def test_a_difference_that_is_the_same_everywhere_has_an_interval_of_no_width() -> None:
    old = [photo(str(n), 20, 20) for n in range(9)]
    new = [photo(str(n), 30, 10) for n in range(9)]
    gained = paired(old, new).jaccard
    assert (gained.mean, gained.low, gained.high) == pytest.approx((0.25, 0.25, 0.25))
    assert gained.low <= gained.mean <= gained.high
    none = paired(old, old)
    assert none.dice == none.jaccard
    assert (none.dice.mean, none.dice.low, none.dice.better, none.dice.worse) == (0, 0, 0, 0)


def test_what_is_hard_for_both_cancels_out() -> None:
    random = np.random.default_rng(1)
    base = random.integers(5, 90, 400)
    gain = random.integers(0, 9, 400)
    old = [photo(str(n), int(b), int(100 - b)) for n, b in enumerate(base)]
    new = [photo(str(n), int(b), int(100 - b)) for n, b in enumerate(base + gain)]
    difference = paired(old, new).jaccard
    error = 1.96 * gain.std() / 100 / 20
    assert difference.mean == pytest.approx(gain.mean() / 100)
    assert difference.low == pytest.approx(difference.mean - error, rel=0.05)
    assert difference.high == pytest.approx(difference.mean + error, rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12))
def test_the_other_way_round_is_the_negative(values: list[tuple[int, int]]) -> None:
    old = [photo(str(n), a, 50 - a) for n, (a, _) in enumerate(values)]
    new = [photo(str(n), b, 50 - b) for n, (_, b) in enumerate(values)]
    there, back = paired(old, new).dice, paired(new, old).dice
    assert there.mean == pytest.approx(-back.mean)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.low <= there.mean <= there.high


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(LesionsegError, match="both were scored on"):
        paired(OLD[:1], NEW[:1])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/runs/a/best.pt"], ["a"]),
        (["/runs/a/best.pt", "/runs/b/best.pt"], ["a", "b"]),
        (["/runs/a/last.pt", "/runs/b/last.pt"], ["a/last.pt", "b/last.pt"]),
        (["/x/one/masks", "/x/two/masks", "/x/three"], ["one/masks", "two/masks", "three"]),
        (["/x/masks", "/x/masks"], ["masks", "masks (2)"]),
        (["bundled", "/x/bundled"], ["bundled", "x/bundled"]),
        (["bundled-small", "/x/bundled-small"], ["bundled-small", "x/bundled-small"]),
        (["best.pt"], ["best.pt"]),
    ],
)
def test_short_names(paths: list[str], names: list[str]) -> None:
    assert short_names([PurePosixPath(path) for path in paths]) == names


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=3), min_size=1, max_size=5))
def test_short_names_differ(parts: list[list[str]]) -> None:
    names = short_names([PurePosixPath(*path) for path in parts])
    assert len(set(names)) == len(names)


def shown(compared: Comparison) -> str:
    file = io.StringIO()
    Console(file=file, width=80, color_system=None).print(tables.scores(compared))
    return file.getvalue()


def test_the_terminal_tells_the_difference() -> None:
    old = [photo(str(n), 20, 20) for n in range(9)]
    new = [photo(str(n), 30, 10) for n in range(9)]
    text = shown(Comparison([scored("old", *old), scored("[b]new", *new, notes=("hasty",))]))
    assert "[b]new against old, 9 photos: better in Dice\n" in text
    assert "  Jaccard +0.250 (+0.250 to +0.250): better on 9, worse on 0\n" in text
    assert "note: [b]new: hasty\n" in text
    assert " 0.500 (0.500 to 0.500) " in text
    back = shown(Comparison([scored("new", *new), scored("old", *old)]))
    assert "old against new, 9 photos: worse in Dice\n" in back
    same = shown(Comparison([scored("a", *OLD, notes=("x",)), scored("b", *NEW, notes=("x",))]))
    assert "b against a, 3 photos: no clear difference in Dice\n" in same
    assert "note: x\n" in same


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Photos with truth masks, and two folders of masks."""
    names = [f"{index:04}" for index in range(5)]
    write_photos(tmp_path / "data", names)
    near = write_predictions(tmp_path / "near", names, 1)
    far = write_predictions(tmp_path / "far", names, 6)
    return tmp_path / "data", near, far


def test_eval_of_two_folders_of_masks(
    folders: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, near, far = folders
    (far / "0000_segmentation.png").unlink()
    out = tmp_path / "report"
    words = ("eval", "--data", data, "--predictions", near, "--predictions", far)
    assert run(monkeypatch, *words, "--report", out, "--json") == 1  # a mask is missing
    captured = capsys.readouterr()
    result: dict[str, Any] = json.loads(captured.out)
    assert result == json.loads((out / report.SUMMARY).read_text())
    assert set(result) == {"evaluations", "differences", "definitions"}
    assert [evaluation["name"] for evaluation in result["evaluations"]] == ["near", "far"]
    assert [evaluation["photos"] for evaluation in result["evaluations"]] == [5, 4]
    (difference,) = result["differences"]
    assert (difference["name"], difference["against"], difference["photos"]) == ("far", "near", 4)
    assert difference["dice"]["mean"] < 0
    assert (difference["dice"]["better"], difference["dice"]["worse"]) == (0, 4)
    rows = list(csv.DictReader(io.StringIO((out / report.SCORES).read_text())))
    assert [row["evaluation"] for row in rows] == ["near"] * 5 + ["far"] * 4
    assert list(rows[0]) == ["evaluation", *report.COLUMNS]
    assert "Side by side" in (out / page.PAGE).read_text(encoding="utf-8")
    assert "error: far: 0000: expected one mask" in captured.err
    assert run(monkeypatch, *words) == 1
    assert "far against near, 4 photos: worse in Dice" in capsys.readouterr().out


def test_eval_of_a_checkpoint_beside_masks(
    folders: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, near, _ = folders
    words = ("eval", "--data", data, "-c", "bundled", "--predictions", near, "--split", "all")
    assert run(monkeypatch, *words, "--json", "--all-regions") == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [evaluation["name"] for evaluation in result["evaluations"]] == ["bundled", "near"]
    assert result["evaluations"][0]["all_regions"] is True
    assert result["evaluations"][1]["checkpoint"] is None
    assert run(monkeypatch, *words, "--masks", "masks") == 2
    assert "give one --checkpoint" in capsys.readouterr().err


def test_one_checkpoint_has_the_layout_of_old(
    folders: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, near, _ = folders
    out = tmp_path / "report"
    assert run(monkeypatch, "eval", "--data", data, "--predictions", near, "--report", out) == 0
    assert "photos: 5, skipped: 0" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [page.PAGE, report.SCORES, report.SUMMARY]
    result = json.loads((out / report.SUMMARY).read_text())
    assert set(result) == set(report.as_json(replace(scored("x", *OLD))))
    assert (out / report.SCORES).read_text().startswith("id,height,width,")
