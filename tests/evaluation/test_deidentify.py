"""What is left out of a report that is to be handed on."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from reports import evaluation, photo, run, scored, write_photos, write_predictions

from lesionseg import store
from lesionseg.evaluation.deidentify import anonymous

NAMES = ["anna", "bea", "carla", "dora"]


def test_numbers_stand_for_names_from_the_worst_up() -> None:
    first = scored("secret", photo("b", 50, 50), photo("a", 90, 10), photo("c", 10, 90))
    second = scored("other", photo("b", 1, 99), photo("d", 5, 5))
    (one, two), numbers = anonymous([first, second])
    assert numbers == {"c": "1", "b": "2", "a": "3", "d": "4"}
    assert [score.id for score in one.scores] == ["2", "3", "1"]
    assert [score.id for score in two.scores] == ["2", "4"]
    assert [score.confusion for score in one.scores] == [score.confusion for score in first.scores]
    assert (one.name, two.name) == ("A", "B")
    many, numbers = anonymous([scored("x", *(photo(str(n), n, 1) for n in range(1, 12)))] * 28)
    assert numbers["1"] == "01"
    assert [each.name for each in many[24:]] == ["Y", "Z", "AA", "AB"]


def test_what_is_public_stays() -> None:
    bundled = replace(
        scored("bundled", photo("a", 1)),
        checkpoint={"file": str(store.BUNDLED_FILE), "trained_on": "isic2018", "epoch": 4},
        data={"name": "demo", "folder": "/data/demo", "split": "val"},
    )
    ((one,), _) = anonymous([bundled])
    assert one.name == "bundled"
    assert one.checkpoint == {"file": None, "trained_on": "isic2018", "epoch": 4}
    assert one.data == {"name": "demo", "folder": None, "split": "val"}
    private: dict[str, object] = {
        "file": "/runs/smith/best.pt",
        "trained_on": "smith",
        "command": "smith",
    }
    ((one,), _) = anonymous([replace(bundled, name="smith", checkpoint=private)])
    assert one.name == "A"
    assert one.checkpoint == {"file": None, "trained_on": "a data set", "command": None}


@pytest.mark.parametrize("several", [False, True])
def test_nothing_names_a_photo_or_a_folder(
    several: bool,
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
    assert run(monkeypatch, *words, "--anonymous", "--report", out, "--json") == 1
    printed = capsys.readouterr().out
    assert run(monkeypatch, *words, "--anonymous") == 1
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
    assert first["command"] == "lesionseg eval --anonymous"


def test_the_named_scores_tell_the_numbers(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "data", NAMES)
    one = evaluation(pairs, write_predictions(tmp_path / "masks", NAMES, 3))
    _, numbers = anonymous([one])
    assert list(numbers) == [score.id for score in one.worst(4)]
    assert list(numbers.values()) == ["1", "2", "3", "4"]
