import csv
import io
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import checkpoint_info, data_info
from rich.console import Console

from lesionseg import files
from lesionseg.cli import tables
from lesionseg.errors import LesionsegError
from lesionseg.evaluation import report
from lesionseg.evaluation.comparison import Comparison
from lesionseg.evaluation.report import Evaluation
from lesionseg.metrics import METRICS, Confusion, PhotoScore, summarise

HEADER = (
    "id,height,width,lesion_share_truth,lesion_share_prediction,dice,jaccard,threshold_jaccard,"
    "accuracy,sensitivity,specificity,tp,fp,fn,tn,quality\n"
)


def evaluation(scores: list[PhotoScore]) -> Evaluation:
    return Evaluation(
        scores=scores,
        skipped=["ISIC_0000009: no mask"],
        checkpoint=checkpoint_info(),
        data=data_info("demo", "/data/demo", "val"),
        command="lesionseg evaluate",
        version="1.2.3",
        threshold=0.5,
        all_regions=False,
        notes=["drawn by this program, not photos"],
    )


def scored(
    name: str, *counts: int, height: int = 10, width: int = 10, quality: float | None = None
) -> PhotoScore:
    return PhotoScore(name, Confusion(*counts), height, width, quality)


THREE = [scored("c", 90, 0, 0, 10), scored("a", 30, 10, 10, 50), scored("b", 0, 0, 0, 100)]


@st.composite
def photo_scores(draw: st.DrawFn) -> PhotoScore:
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    cuts = sorted(draw(st.tuples(*[st.integers(0, height * width)] * 3)))
    counts = (cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], height * width - cuts[2])
    # No \r: the csv module quotes it from Python 3.13 only.
    letters = st.characters(codec="utf-8", exclude_characters="\r")
    name = draw(st.text(letters, min_size=1, max_size=8))
    quality = draw(st.none() | st.floats(0, 1))
    return scored(name, *counts, height=height, width=width, quality=quality)


many = st.lists(photo_scores(), min_size=1, max_size=15, unique_by=lambda score: score.id)


def strict_json(text: str) -> dict[str, Any]:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    content: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return content


def written(scored_set: Evaluation) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        report.write(scored_set, Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert set(files) == {"summary.json", "scores.csv"}
    return files["summary.json"].decode("utf-8"), files["scores.csv"].decode("utf-8")


def shown(scored_set: Evaluation, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(
        tables.scores(Comparison([scored_set]))
    )
    return file.getvalue()


def test_the_object_that_scripts_read() -> None:
    content: dict[str, Any] = report.as_json(evaluation(THREE))
    assert set(content) == {
        *(
            "photos",
            "failures",
            *METRICS,
            "reliability",
            "calibration",
            "worst",
            "skipped",
            "left_out",
            "notes",
            "checkpoint",
            "data",
        ),
        *("threshold", "all_regions", "version", "command", "definitions"),
    }
    assert content["photos"] == 3
    assert content["failures"] == 1 / 3
    assert content["dice"]["mean"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert content["jaccard"]["mean"] == pytest.approx((1 + 0.6 + 1) / 3)
    assert content["threshold_jaccard"]["mean"] == pytest.approx(2 / 3)
    assert set(content["dice"]) == {"mean", "median", "low", "high"}
    assert content["worst"][0] == {"id": "a", "dice": 0.75, "jaccard": 0.6}
    assert [worst["id"] for worst in content["worst"]] == ["a", "b", "c"]
    assert content["checkpoint"]["training_photos"] == 3
    assert content["checkpoint"]["model"]["image_size"] == 256
    assert content["data"] == {
        "name": "demo",
        "folder": "/data/demo",
        "split": "val",
        "split_source": "seeded",
        "drawn": False,
        "shrunk": None,
    }
    assert content["skipped"] == ["ISIC_0000009: no mask"]
    assert content["notes"] == ["drawn by this program, not photos"]
    assert (content["threshold"], content["version"], content["reliability"]) == (
        0.5,
        "1.2.3",
        None,
    )
    assert content["all_regions"] is False


def test_how_well_quality_told_the_scores() -> None:
    three = [
        replace(score, quality=quality)
        for score, quality in zip(THREE, (0.9, 0.2, 0.8), strict=True)
    ]
    content: dict[str, Any] = report.as_json(evaluation(three))
    assert content["reliability"] == {
        "rank_correlation": pytest.approx(math.sqrt(0.75)),
        "in_lowest_tenth": 1,
        "in_lowest_fifth": 1,
    }
    line = (
        "rank correlation of quality and Dice: 0.87\n"
        "failures in the tenth of lowest quality: 1, in the fifth: 1\n"
    )
    assert line in shown(evaluation(three))
    without = evaluation([*three, scored("d", 1, 2, 3, 94)])
    assert report.as_json(without)["reliability"] is None
    alike = [replace(score, quality=0.5) for score in THREE]
    for item in (without, evaluation(alike)):
        assert "quality" not in shown(item)


def test_the_rows_of_the_table_of_scores() -> None:
    rows = written(evaluation([*THREE[:2], replace(THREE[2], quality=0.25)]))[1]
    a = "a,10,10,0.4,0.4,0.75,0.6,0.0,0.8,0.75,0.8333333333333334,30,10,10,50,\n"
    b = "b,10,10,0.0,0.0,1.0,1.0,1.0,1.0,1.0,1.0,0,0,0,100,0.25\n"
    c = "c,10,10,0.9,0.9,1.0,1.0,1.0,1.0,1.0,1.0,90,0,0,10,\n"
    assert rows == HEADER + a + b + c


@settings(deadline=None, max_examples=25)
@given(many)
def test_json_round_trip(scores: list[PhotoScore]) -> None:
    content = strict_json(written(evaluation(scores))[0])
    assert content == report.as_json(evaluation(scores))
    summary = summarise([score.confusion for score in scores])
    assert content["photos"] == len(scores)
    assert content["failures"] == summary.failures
    assert [content[name]["mean"] for name in METRICS] == [
        getattr(summary, name).mean for name in METRICS
    ]
    by_id = {score.id: score.confusion.jaccard for score in scores}
    listed = [worst["jaccard"] for worst in content["worst"]]
    assert listed == sorted(by_id.values())[:10]
    assert all(by_id[worst["id"]] == worst["jaccard"] for worst in content["worst"])


@settings(deadline=None, max_examples=25)
@given(many)
def test_csv_round_trip(scores: list[PhotoScore]) -> None:
    rows = list(csv.DictReader(io.StringIO(written(evaluation(scores))[1], newline="")))
    for row, score in zip(rows, sorted(scores, key=lambda score: score.id), strict=True):
        assert row["id"] == files.spreadsheet_text(score.id)
        counts = Confusion(*(int(row[name]) for name in ("tp", "fp", "fn", "tn")))
        assert (counts, int(row["height"]), int(row["width"])) == (
            score.confusion,
            score.height,
            score.width,
        )
        for name in METRICS:
            assert float(row[name]) == getattr(counts, name)
        assert (float(row["quality"]) if row["quality"] else None) == score.quality
        pixels = score.height * score.width
        lesion = counts.true_positive + counts.false_negative
        predicted = counts.true_positive + counts.false_positive
        assert float(row["lesion_share_truth"]) * pixels == pytest.approx(lesion)
        assert float(row["lesion_share_prediction"]) * pixels == pytest.approx(predicted)


# The keys of version 0.1.0, which scripts read; the configuration may have more.
CHECKPOINT = "file epoch model recipe trained_on training_photos version command commit"
ADDED = ["parent", "teachers"]
MODEL = "width normalisation image_size stem max_channels"
RECIPE = (
    "name epochs learning_rate batch_size validation_batch_size seed precision loss schedule "
    "augmentation low_res_fraction"
)


def test_the_keys_below_are_those_of_version_0_1_0() -> None:
    content = strict_json(written(evaluation(THREE))[0])
    assert list(content["checkpoint"]) == [*CHECKPOINT.split(), *ADDED]
    assert set(MODEL.split()) <= set(content["checkpoint"]["model"])
    assert set(RECIPE.split()) <= set(content["checkpoint"]["recipe"])
    without = replace(evaluation(THREE), checkpoint=None)
    assert strict_json(written(without)[0])["checkpoint"] is None


def test_a_second_report_takes_the_place_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    report.write(evaluation(THREE), folder)
    report.write(evaluation(THREE[:1]), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["scores.csv", "summary.json"]
    assert len((folder / "scores.csv").read_bytes().splitlines()) == 2
    assert strict_json((folder / "summary.json").read_text("utf-8"))["photos"] == 1


def test_no_photos_are_an_error_and_leave_the_old_report(tmp_path: Path) -> None:
    report.write(evaluation(THREE), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(LesionsegError, match="at least one"):
        report.write(evaluation([]), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(LesionsegError, match="cannot write"):
        report.write(evaluation(THREE), tmp_path / "taken")


def test_the_terminal_shows_the_scores_the_worst_photos_and_the_notes() -> None:
    seven = [scored(f"photo{n}", 10 * n, 0, 100 - 10 * n, 0) for n in (6, 3, 1, 7, 2, 5, 4)]
    text = shown(evaluation(seven))
    summary = summarise([score.confusion for score in seven])
    for name in METRICS:
        value = getattr(summary, name)
        row = next(line for line in text.splitlines() if f" {name.replace('_', ' ')} " in line)
        assert f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})" in row
        assert f" {value.median:.3f} " in row
    assert "photos: 7, skipped: 1\n" in text
    assert "failures (Jaccard below 0.65): 6, 85.7%\n" in text
    worst = [line.split() for line in text.splitlines() if "photo" in line and line[0] == " "]
    assert worst == [[f"0.{n}00", f"photo{n}"] for n in range(1, 6)]
    assert "note: drawn by this program, not photos\n" in text


def test_names_are_shown_as_they_are_and_never_obeyed() -> None:
    names = ["[bold]x[/bold]", "[/]", ":smile:", "\u75c5\u5909 1", "a\x1b[31m\nb"]
    text = shown(evaluation([scored(name, 1, 1, 1, 97) for name in names]))
    for name in (*names[:4], r"a\x1b[31m\nb"):
        assert f"  0.333  {name}\n" in text
    assert "\x1b" not in text


def test_names_of_undecodable_bytes_are_written_as_escapes() -> None:
    odd = evaluation([scored("ISIC\udcff", 1, 1, 1, 97)])
    summary, rows = written(odd)
    assert strict_json(summary)["worst"][0]["id"] == "ISIC\udcff"
    assert rows.splitlines()[1].startswith(r"ISIC\udcff,10,10,")
    assert r"ISIC\udcff" in shown(odd)


def test_rich_is_loaded_only_for_the_terminal() -> None:
    code = "import sys, lesionseg.evaluation.report; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
