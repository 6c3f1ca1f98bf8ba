"""The threshold inside a checkpoint: what masks are made with unless the user names another."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Command, begun, saved, write_pairs, write_photo

from lesionseg import store
from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.images.resize import enlarged_above
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network import runtime
from lesionseg.network.export import export
from lesionseg.network.provenance import Provenance, fields_of
from lesionseg.network.runtime import EXPORTED, OnnxNetwork, TorchNetwork, open_network
from lesionseg.segmentation.segmenter import load
from lesionseg.web import pages


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a threshold of its own, and an export of it beside it with another."""
    folder = tmp_path_factory.mktemp("networks")
    path = folder / "a.pt"
    checkpoints.save(dataclasses.replace(begun(2, seed=8, poolings=1), threshold=0.503), path)
    export(path, folder / "same.onnx")
    export(path, path.with_suffix(EXPORTED), threshold=0.506)
    return path


def test_checkpoints_without_one_have_a_half(tmp_path: Path) -> None:
    content = begun().plain()
    del content["threshold"]
    assert Provenance(**fields_of(content)).threshold == 0.5
    assert load(saved(tmp_path / "a.pt"), "cpu").threshold == 0.5
    assert load(store.BUNDLED, "cpu").threshold == load(store.BUNDLED).checkpoint.threshold


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_a_damaged_one_is_refused(value: Any) -> None:
    with pytest.raises(LesionsegError, match="expected a threshold of 0 to 1"):
        fields_of({**begun().plain(), "threshold": value})


def test_it_is_the_default_in_torch_and_in_onnx(pair: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.pt"
    alone.write_bytes(pair.read_bytes())
    in_torch, in_onnx = load(alone, "cpu"), load(pair, "cpu")
    assert isinstance(in_torch.network, TorchNetwork)
    assert isinstance(in_onnx.network, OnnxNetwork)
    # Beside its checkpoint an export only runs the network: both say the same.
    assert in_torch.threshold == in_onnx.threshold == 0.503
    assert load(alone, "cpu", threshold=0.4).threshold == 0.4
    photo = write_photo(tmp_path / "a.png")
    soft = in_torch(photo).probabilities
    assert (soft > 0.503).sum() != (soft > 0.5).sum()
    mask = load(alone, "cpu", all_regions=True)(photo).mask
    assert ((soft > 0.503) == mask).mean() > 0.999


def test_an_export_has_that_of_its_masks(pair: Path) -> None:
    same, other = pair.with_name("same.onnx"), pair.with_suffix(EXPORTED)
    for path, threshold in ((same, 0.503), (other, 0.506)):
        assert open_network(path).provenance.threshold == threshold
        assert load(path).threshold == threshold
        network = OnnxNetwork(path)
        photo = np.random.default_rng(0).integers(0, 256, (1, 70, 80, 3), np.uint8)
        (mask,), (soft,) = network.masks(photo)
        own = enlarged_above(soft, 70, 80, threshold)
        assert ((mask == 255) == own).mean() > 0.99


def test_a_damaged_export_is_refused(pair: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(pair.with_suffix(EXPORTED))
    for entry in model.metadata_props:
        if entry.key == runtime.MASK_THRESHOLD:
            entry.value = "half"
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(CheckpointError, match="or damaged"):
        open_network(tmp_path / "b.onnx")


def test_the_commands_use_it_and_say_so(pair: Path, tmp_path: Path, lesionseg: Command) -> None:
    photo, data = write_photo(tmp_path / "a.png"), write_pairs(tmp_path / "set", 0, 1)
    own = lesionseg("segment", photo, "-o", tmp_path / "own.png", "-c", pair)
    assert re.search(r"checkpoint \S+a\.pt \(threshold 0\.503\) on", own.err)
    said = lesionseg(
        "segment", photo, "-o", tmp_path / "said.png", "-c", pair, "--threshold", 0.503
    )
    assert "threshold" not in said.err
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "said.png").read_bytes()
    half = lesionseg("segment", photo, "-o", tmp_path / "half.png", "-c", pair, "--threshold", 0.5)
    assert half.status == 0
    assert (tmp_path / "own.png").read_bytes() != (tmp_path / "half.png").read_bytes()
    summary = json.loads(lesionseg("eval", "--data", data, "-c", pair, "--json").out)
    assert summary["threshold"] == 0.503


def test_the_page_uses_it(pair: Path, tmp_path: Path) -> None:
    network = pages.load_network(pair)
    assert network.threshold == 0.503
    pages.write_file(tmp_path / "a.html", network)
    settings = re.findall(r'id="settings">(.*?)</script>', (tmp_path / "a.html").read_text())[0]
    assert json.loads(settings)["threshold"] == 0.503
    assert pages.load_network(store.BUNDLED_FILE).threshold == load("bundled").threshold
