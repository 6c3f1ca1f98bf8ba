"""What is left out of a report that is to be handed on, and what cannot get into it."""

import json
import re
from dataclasses import fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import pytest
from reports import (
    checkpoint_info,
    data_info,
    evaluation,
    photo,
    run,
    scored,
    write_photos,
    write_predictions,
)

from lesionseg import store
from lesionseg.config import ModelConfig, Recipe
from lesionseg.evaluation import display_paths, report
from lesionseg.evaluation.deidentify import hide_names
from lesionseg.evaluation.report import EarlierCheckpoint

NAMES = ["anna", "bea", "carla", "dora"]


def test_numbers_stand_for_names_from_the_worst_up() -> None:
    first = scored("secret", photo("b", 50, 50), photo("a", 90, 10), photo("c", 10, 90))
    second = scored("other", photo("b", 1, 99), photo("d", 5, 5))
    (one, two), numbers = hide_names([first, second])
    assert numbers == {"c": "1", "b": "2", "a": "3", "d": "4"}
    assert [score.id for score in one.scores] == ["2", "3", "1"]
    assert [score.id for score in two.scores] == ["2", "4"]
    assert [score.confusion for score in one.scores] == [score.confusion for score in first.scores]
    assert (one.name, two.name) == ("A", "B")
    many, numbers = hide_names([scored("x", *(photo(str(n), n, 1) for n in range(1, 12)))] * 28)
    assert numbers["1"] == "01"
    assert [item.name for item in many[24:]] == ["Y", "Z", "AA", "AB"]


@pytest.mark.parametrize("name", store.BUNDLED_FILES)
def test_what_is_public_stays(name: str) -> None:
    bundled = replace(
        scored(name, photo("a", 1)),
        checkpoint=checkpoint_info(str(store.BUNDLED_FILES[name]), "isic2018"),
        data=data_info("demo", "/data/demo", "val"),
    )
    ((one,), _) = hide_names([bundled])
    assert one.name == name
    kind = "" if name == store.BUNDLED else f" as {name}"
    shown = [display_paths.checkpoint_file(evaluation) for evaluation in (bundled, one)]
    assert shown == [f"the weights bundled with lesionseg{kind}"] * 2
    own = replace(bundled, checkpoint=checkpoint_info(f"/runs/{name}/best.pt"))
    assert display_paths.checkpoint_file(own) == f"…/{name}/best.pt"
    assert bundled.checkpoint is not None
    assert one.checkpoint == replace(bundled.checkpoint, file=None, command=None)
    assert one.data == replace(bundled.data, folder=None)
    private = replace(checkpoint_info("/runs/smith/best.pt", "smith"), command="smith")
    ((one,), _) = hide_names([replace(bundled, name="smith", checkpoint=private)])
    assert one.name == "A"
    assert one.checkpoint == replace(private, file=None, trained_on="a data set", command=None)


def test_a_field_that_is_not_on_the_list_is_left_out() -> None:
    """Each class is given a field more, as a later version might."""

    def with_secret(value: Any) -> Any:
        later = make_dataclass(
            type(value).__name__, [("secret", str)], bases=(type(value),), frozen=True, kw_only=True
        )
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return later(**values, secret="smith")

    one = replace(
        scored("x"),
        scores=[with_secret(photo("a", 1))],
        checkpoint=with_secret(checkpoint_info()),
        data=with_secret(data_info()),
    )
    assert json.dumps(report.as_json(one)).count("smith") == 2  # it would be told
    later = with_secret(one)
    assert repr(later).count("smith") == 4
    ((safe,), _) = hide_names([later])
    assert "smith" not in repr(safe)
    assert "smith" not in json.dumps(report.as_json(safe))


@pytest.mark.parametrize("config", [ModelConfig, Recipe])
def test_shape_and_recipe_hold_numbers_and_listed_words_alone(config: type) -> None:
    for name, kind in get_type_hints(config).items():
        assert kind in (int, float, bool) or get_origin(kind) is Literal, name


@pytest.mark.parametrize("option", ["--hide-names", "--anonymous"])  # the second is of 0.1.0
@pytest.mark.parametrize("several", [False, True])
def test_nothing_names_a_photo_or_a_folder(
    several: bool,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    private = tmp_path / "hospital"
    pairs = write_photos(private / "ward", NAMES)
    for name, pair in pairs.items():
        pair.photo.rename(pair.photo.with_name(f"{name}.png"))
        pair.mask.rename(pair.mask.with_name(f"{name}.png"))
    (private / "ward" / "images" / "emma.png").write_bytes(b"no partner")
    (private / "ward" / "masks" / "fay.png").write_bytes(b"no partner")
    for folder in ("surgeon", "student"):
        write_predictions(private / folder, NAMES, 3)
        for index, name in enumerate(NAMES):
            mask = private / folder / f"{index:04}_segmentation.png"
            mask.rename(mask.with_name(f"{name}.png"))
    (private / "surgeon" / "dora.png").unlink()
    words = ["eval", "--data", private / "ward", "--predictions", private / "surgeon"]
    words += ["--predictions", private / "student"] if several else []
    out = tmp_path / "out"
    assert run(monkeypatch, *words, option, "--report", out, "--json") == 1
    printed = capsys.readouterr().out
    assert run(monkeypatch, *words, option) == 1
    printed += capsys.readouterr().out
    texts = {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}
    assert set(texts) == {"report.html", "scores.csv", "summary.json"}
    secret = ("hospital", "ward", "surgeon", "student", "emma", "fay", tmp_path.name, *NAMES)
    for text in (printed, *texts.values()):
        bare = re.sub(r"base64,[A-Za-z0-9+/=]*", "", text).lower()
        for word in secret:
            assert not re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", bare), word
    summary = json.loads(texts["summary.json"])
    first = summary["evaluations"][0] if several else summary
    assert first["photos"] == 3
    assert len(first["skipped"]) == 1
    assert len(first["left_out"]) == 2
    assert first["data"]["folder"] is None
    assert first["command"] == "lesionseg eval --hide-names"


def test_help_shows_the_new_name_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "eval", "--help") == 0
    out = capsys.readouterr().out
    assert ("--hide-names" in out, "--anonymous" in out) == (True, False)


def test_the_named_scores_tell_the_numbers(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", NAMES)
    one = evaluation(pairs, write_predictions(tmp_path / "masks", NAMES, 3))
    _, numbers = hide_names([one])
    assert list(numbers) == [score.id for score in one.worst(4)]
    assert list(numbers.values()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", store.BUNDLED_FILES)
def test_of_earlier_checkpoints_public_names_and_counts_stay(name: str) -> None:
    earlier = EarlierCheckpoint(file="/runs/smith/best.pt", trained_on="smith", training_photos=7)
    bundled = EarlierCheckpoint(file=name, trained_on="isic2018", training_photos=9)
    info = replace(checkpoint_info(), parent=bundled, teachers=(earlier,))
    ((one,), _) = hide_names([replace(scored("x", photo("a", 1)), checkpoint=info)])
    assert one.checkpoint is not None
    assert one.checkpoint.parent == bundled
    assert one.checkpoint.teachers == (replace(earlier, file=None, trained_on="a data set"),)
