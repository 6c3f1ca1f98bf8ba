"""The weights that come with the package, whatever network they are of; and how they are made."""

import dataclasses
import json
import os
import re
import runpy
import sys
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from helpers import DATA, SIZE, begun, drawing, torch_network, write_pairs

from lesionseg import store
from lesionseg.data import discovery
from lesionseg.data.pairs import read_pair
from lesionseg.evaluation import scoring
from lesionseg.images.resize import shrink
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.export import OPSET
from lesionseg.network.kernels import SMALL
from lesionseg.network.runtime import EXPORTED, METADATA, SOURCE, OnnxNetwork, checksum
from lesionseg.segmentation.segmenter import load
from lesionseg.training.runs import InitialWeights
from lesionseg.training.teachers import Teacher

FILES = store.BUNDLED_FILES.values()
GRAPH = store.BUNDLED_FILE.with_suffix(EXPORTED)
SMALLER = store.BUNDLED_FILES["bundled-small"]
each_file = pytest.mark.parametrize("file", FILES, ids=store.BUNDLED_FILES)
CARD = Path(__file__).parents[2] / "MODEL_CARD.md"
ABSOLUTE = re.compile(r"(?:^|[\s='\"])(?:[/~\\]|[A-Za-z]:[/\\])")
SCRIPT = Path(__file__).parents[2] / "scripts" / "bundle.py"
REAL = os.environ.get("LESIONSEG_TEST_DATA")


@cache
def bundled(file: Path = store.BUNDLED_FILE) -> Checkpoint:
    return checkpoints.load(file)


def texts(value: Any) -> Iterator[str]:
    """All text in a checkpoint's content."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def deflated(path: Path) -> int:
    """The bytes that a file takes in a wheel, which is a zip."""
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return len(packed.compress(path.read_bytes()) + packed.flush())


def test_the_wheel_is_small() -> None:
    package = store.BUNDLED_FILE.parent.parent
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    weights = [path for path in files if path.is_relative_to(store.BUNDLED_FILE.parent)]
    small = {SMALLER, SMALLER.with_suffix(EXPORTED)}
    assert {*weights} == {store.BUNDLED_FILE, GRAPH} | small
    assert all(path.stat().st_size <= 10e6 for path in weights)
    page = [path for path in files if path.is_relative_to(package / "web")]
    larger = {*files} - small
    for part, most in (
        (larger - {*page} - {GRAPH}, 10e6),
        (page, 6.2e6),
        (larger, 24e6),
        (small, 8e6),
    ):
        assert sum(deflated(path) + 500 for path in part) <= most  # with names and the like of each


@each_file
def test_the_graph_is_that_of_this_very_checkpoint(file: Path) -> None:
    graph = file.with_suffix(EXPORTED)
    assert OnnxNetwork(graph).source == checksum(file)
    model = onnx.load(graph)
    assert model.opset_import[0].version == OPSET
    assert not any(node.metadata_props for node in model.graph.node)  # of another machine's folders


@pytest.mark.skipif(not CARD.is_file(), reason="the card is not beside the tests")
def test_the_card_names_every_file() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| ([\d,]+) bytes.*`([0-9a-f]{64})` \|$", CARD.read_text(), re.M
    )
    assert {(name, int(size.replace(",", "")), digest) for name, size, digest in rows} == {
        (path.name, path.stat().st_size, checksum(path))
        for file in FILES
        for path in (file, file.with_suffix(EXPORTED))
    }


@each_file
def test_large_kernels_alone_are_in_int8(file: Path) -> None:
    stored = torch.load(file, weights_only=True)["weights"]
    for name, value in stored.items():
        large = name.endswith("weight") and value.ndim == 4 and value.numel() >= SMALL
        assert (value.dtype == torch.int8) == large, name
    assert {value.dtype for value in bundled(file).network().parameters()} == {torch.float32}


@each_file
def test_it_says_how_it_was_made(file: Path) -> None:
    made = bundled(file)
    assert re.match(r"lesionseg train\b", made.command)
    assert re.fullmatch(r"[0-9a-f]{7,40}", made.commit)
    assert made.version
    assert 0 < made.epoch <= made.recipe.epochs
    assert 0 < made.scores["jaccard"] < made.scores["dice"] < 1
    assert made.scores["val_photos"] == len(made.data.val_ids) > 0
    assert not {*made.data.train_ids} & {*made.data.val_ids}
    assert not made.data.synthetic


@pytest.mark.parametrize(("name", "file"), store.BUNDLED_FILES.items())
def test_training_may_start_from_it_and_learn_from_it(name: str, file: Path) -> None:
    shape, initial = InitialWeights.load(name)
    assert shape == bundled(file).model
    assert initial.parent.file == name
    teacher = Teacher.load(name)
    assert teacher.record.file == name


@each_file
def test_it_tells_nothing_of_another_machine(file: Path) -> None:
    made, graph = bundled(file), file.with_suffix(EXPORTED)
    assert (made.data.folder, made.data.photos_folder, made.data.truth_folder) == ("", "", "")
    assert made.training is None
    content = torch.load(file, weights_only=True)
    assert [text for text in texts(content) if ABSOLUTE.search(text)] == []
    assert OnnxNetwork(graph).provenance.plain() == made.plain()
    model = onnx.load(graph)
    assert {entry.key for entry in model.metadata_props} == {METADATA, SOURCE}
    assert not model.doc_string
    assert not model.graph.doc_string


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        *((text, True) for text in ("/a", "train --data /a/b", "--data=/a", "'/a b'", "~/a")),
        *((text, True) for text in (r"C:\a", "--data d:/a", r"\\server\a")),
        *((text, False) for text in ("", "--data isic256", "a/b", "../a", "and/or", "a: b")),
    ],
)
def test_what_an_absolute_path_is(text: str, absolute: bool) -> None:
    assert bool(ABSOLUTE.search(text)) == absolute


@pytest.mark.skipif(REAL is None, reason="LESIONSEG_TEST_DATA names no real photos")
@pytest.mark.parametrize("name", store.BUNDLED_FILES)
def test_it_finds_lesions_on_photos_that_it_was_not_trained_on(name: str) -> None:
    pairs = discovery.find(Path(REAL or "") / "isic256").split("val")[:40]
    assert not {pair.id for pair in pairs} & {*bundled(store.BUNDLED_FILES[name]).data.train_ids}
    scored = scoring.evaluate(load(name, "cpu"), pairs, batch_size=4, workers=1)
    dice = [score.confusion.dice for score in scored.scores]
    assert len(dice) == 40
    assert sum(dice) / len(dice) >= 0.8


@pytest.mark.skipif(not SCRIPT.is_file(), reason="scripts/ is not in a source archive")
def test_how_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_pairs(tmp_path / "data", 0, 1, 2)
    (data / "val.txt").write_text("ISIC_0000001\nISIC_0000002")
    ids = {"train_ids": ("ISIC_0000000",), "val_ids": ("ISIC_0000001", "ISIC_0000002")}
    about = dataclasses.replace(DATA, **ids)  # type: ignore[arg-type]
    trained = dataclasses.replace(
        begun(2, seed=3, poolings=1),  # a short graph is converted sooner
        data=dataclasses.replace(about, folder="a", photos_folder="b", truth_folder="c"),
        command="lesionseg train",
        epoch=5,
        training={"history": []},
    )
    other = dataclasses.replace(begun(2, seed=4, poolings=1), data=trained.data)
    for name, checkpoint in (("run", trained), ("other", other)):
        checkpoints.save(checkpoint, tmp_path / name / store.BEST)
    target = tmp_path / "new.pt"
    joined = tmp_path / "other" / store.BEST
    words = (tmp_path / "run", "--data", data, "--commit", "abc1234", "--output", target)
    monkeypatch.setattr(sys, "argv", ["bundle.py", *map(str, (*words, "--join", joined))])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    output = json.loads(capsys.readouterr().out)
    made = checkpoints.load(target)
    assert made.data == about
    assert (made.commit, made.epoch) == ("abc1234", 5)
    assert made.command == "lesionseg train && (unknown)"
    assert made.training is None
    assert [member.command for member in made.members] == ["lesionseg train", ""]
    for place, part in enumerate((trained, other)):
        for name, value in part.weights.items():
            settled = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
            if place or not settled:
                assert torch.equal(made.weights[f"members.{place}.{name}"], value), name
    network = trained.network()
    name, first = next(
        entry for entry in network.named_modules() if isinstance(entry[1], torch.nn.BatchNorm2d)
    )
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    shrunk = read_pair(discovery.find(data).split("train")[0], SIZE)[0]
    with torch.inference_mode():
        network(torch.from_numpy(shrunk.copy()).permute(2, 0, 1)[None])
    own = made.weights[f"members.0.{name}.running_mean"]
    assert torch.allclose(own, seen[0].mean((0, 2, 3)), atol=1e-4)
    pairs = discovery.find(data).split("val")
    scored = scoring.evaluate(load(target, "cpu"), pairs, batch_size=1, workers=1)
    dice = [score.confusion.dice for score in scored.scores]
    assert made.scores["dice"] == output["dice"] == pytest.approx(sum(dice) / 2)
    assert made.scores["val_photos"] == output["val_photos"] == 2
    graph = target.with_suffix(EXPORTED)
    for path in (target, graph):
        assert output[path.name] == [path.stat().st_size, checksum(path)]
    assert sorted(path.name for path in tmp_path.glob("new*")) == ["new.onnx", "new.pt"]
    exported = OnnxNetwork(graph)
    assert exported.source == checksum(target)
    assert exported.provenance.plain() == made.plain()
    photo = np.stack([shrink(drawing(0)[0], SIZE)])
    assert np.abs(exported(photo) - torch_network(made)(photo)).max() < 1e-5
