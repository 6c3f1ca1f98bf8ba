"""Several networks as one: the mean of their probabilities, in the tool and in one ONNX file."""

import dataclasses
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers import DATA, Command, drawing, exported, saved, write_pairs, write_photo

from lesionseg import store
from lesionseg.clinic.results import algorithm_of
from lesionseg.config import ModelConfig, Recipe, Stem
from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.evaluation import api, display_paths
from lesionseg.evaluation.deidentify import hide_names
from lesionseg.images.arrays import Photo
from lesionseg.images.masks import read_mask
from lesionseg.images.resize import shrink
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network import runtime
from lesionseg.network.ensemble import Ensemble, joint_checksum, joint_provenance
from lesionseg.network.export import export, join
from lesionseg.network.losses import loss_of
from lesionseg.network.mean import MeanUNet
from lesionseg.network.provenance import Parent, Provenance, fields_of
from lesionseg.network.runtime import EXPORTED, OnnxNetwork, checksum, open_network
from lesionseg.segmentation.segmenter import load
from lesionseg.training import trainer
from lesionseg.training.runs import InitialWeights

SIZES = {"small": 32, "odd": 48, "large": 64}  # of which the second divides none


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of three sizes, each trained on photos of its own, and files of their means."""
    folder = tmp_path_factory.mktemp("networks")
    paths = {name: folder / f"{name}.pt" for name in SIZES}
    for seed, (name, size) in enumerate(SIZES.items(), start=3):
        stem: Stem = "strided" if size == 64 else "none"
        # A short graph, which is converted sooner, most of whose bytes are kernels.
        model = ModelConfig(32, "batch", size, stem, poolings=1)
        data = dataclasses.replace(DATA, train_ids=(name, "shared"), val_ids=("small", "v"))
        checkpoint = trainer.initial_checkpoint(model, Recipe(seed=seed), data)
        threshold = 0.49 + seed / 1000
        checkpoints.save(dataclasses.replace(checkpoint, threshold=threshold), paths[name])
    paths["fused"] = export([paths["small"], paths["large"]], folder / "fused.onnx").path
    paths["three"] = export([paths[name] for name in SIZES], folder / "three.onnx").path
    return paths


def photos() -> list[Photo]:
    return [drawing(index)[0] for index in range(3)]


def test_the_mean_of_networks_of_one_size(networks: dict[str, Path], tmp_path: Path) -> None:
    other = saved(tmp_path / "b.pt", width=3, seed=5)
    both = load([networks["small"], other], "cpu")
    first, second = load(networks["small"], "cpu"), load(other, "cpu")
    assert both.network.batched
    for photo in photos():
        expected = (first(photo).probabilities + second(photo).probabilities) / 2
        assert np.abs(both(photo).probabilities - expected).max() < 1e-6
    assert both.threshold == pytest.approx((0.493 + 0.5) / 2)
    assert load([networks["small"], other], "cpu", threshold=0.3).threshold == 0.3
    assert (both.path, both.paths) == (None, (networks["small"], other))


def test_each_network_sees_its_own_size(networks: dict[str, Path]) -> None:
    both = load([networks[name] for name in SIZES], "cpu")
    assert both.size == 64
    for photo in photos():
        large = shrink(photo, 64)
        maps = []
        for name, size in SIZES.items():
            small = shrink(large, size, gap=None)
            (soft,) = load(networks[name], "cpu").predict([small])
            soft = soft.clip(1e-6, 1 - 1e-6)
            logits = cv2.resize(np.log(soft / (1 - soft)), (64, 64))
            maps.append(1 / (1 + np.exp(-logits)))
        assert maps[0].std() > 0
        expected = np.mean(maps, axis=0)
        assert np.abs(both(photo).low_res_probabilities - expected).max() < 1e-6


def test_torch_and_onnx_together(networks: dict[str, Path], tmp_path: Path) -> None:
    other = exported(tmp_path / "a.pt")
    both = load([networks["small"], other.with_suffix(EXPORTED)], "cpu")
    assert both.network.device == "cpu, cpu (ONNX Runtime)"
    assert both.network.batched
    by_torch = load([networks["small"], other], "cpu")
    for result, photo in zip(both.map(photos()), photos(), strict=True):
        assert not isinstance(result, LesionsegError)
        expected = by_torch(photo).low_res_probabilities
        assert np.abs(result.low_res_probabilities - expected).max() < 1e-5
    alone = load([other.with_suffix(EXPORTED), networks["fused"]])
    assert not alone.network.batched
    assert alone.network.device == "cpu (ONNX Runtime)"
    with pytest.raises(LesionsegError, match="runs on the CPU, not on 'mps'"):
        load([networks["fused"], other.with_suffix(EXPORTED)], "mps")


def test_it_can_be_pickled(networks: dict[str, Path]) -> None:
    own = load([networks["small"], networks["fused"]], "cpu")
    copy = pickle.loads(pickle.dumps(own))
    photo = photos()[0]
    assert (copy(photo).probabilities == own(photo).probabilities).all()
    assert copy.paths == own.paths


def test_a_network_counts_once(networks: dict[str, Path], tmp_path: Path) -> None:
    link = tmp_path / "link.pt"
    link.symlink_to(networks["small"])
    for other in (link, networks["small"], str(networks["small"])):
        with pytest.raises(CheckpointError, match=r"small\.pt: .* given more than once"):
            load([networks["small"], other], "cpu")
    with pytest.raises(CheckpointError, match="given more than once"):
        export([networks["small"], networks["small"]], tmp_path / "a.onnx")


def test_a_copy_of_a_network_is_no_other_one(networks: dict[str, Path], tmp_path: Path) -> None:
    first = exported(tmp_path / "first.pt")
    copy = exported(tmp_path / "copy.pt")
    said = r"first\.\w+: this network was given more than once, also as \S*copy\.\w+; give each"
    for one in (first, first.with_suffix(EXPORTED)):
        for other in (copy, copy.with_suffix(EXPORTED)):
            with pytest.raises(CheckpointError, match=said):
                load([one, networks["small"], other], "cpu")
    for write, name in ((export, "a.onnx"), (join, "a.pt")):
        with pytest.raises(CheckpointError, match=said):
            write([first, networks["small"], copy], tmp_path / name)
        assert not (tmp_path / name).exists()


def test_unequal_weights_are_noted(
    networks: dict[str, Path], tmp_path: Path, lesionseg: Command
) -> None:
    both, triple = tmp_path / "both.pt", tmp_path / "triple.pt"
    other = saved(tmp_path / "other.pt", seed=5)
    photo = write_photo(tmp_path / "a.png")
    equal = ("-c", networks["small"], "-c", networks["large"])
    unequal = ("-c", both, "-c", other)
    said = (
        "each file counts once in the mean, however many networks it holds, so they weigh "
        f"unequally: {both} 2, {other} 1\n"
    )
    for words in (("export", "-o", both, *equal), ("segment", photo, "-o", photo, *equal)):
        assert "weigh unequally" not in lesionseg(*words).err
    for words in (
        ("export", "-o", triple, *unequal),
        ("export", "-o", tmp_path / "triple.onnx", *unequal),
        ("segment", photo, "-o", tmp_path / "b.png", *unequal),
    ):
        assert lesionseg(*words).err.count(said) == 1
    again = lesionseg("export", "-o", tmp_path / "c.pt", "-c", triple, "-c", networks["odd"])
    assert again.err.endswith(f"{triple} 3, {networks['odd']} 1\n")
    alone = lesionseg("segment", photo, "-o", tmp_path / "d.png", "-c", triple)
    assert "weigh unequally" not in alone.err


def test_what_it_says_of_itself(networks: dict[str, Path]) -> None:
    members = [checkpoints.load(networks[name]) for name in SIZES]
    joint = joint_provenance(members)
    assert (joint.model, joint.recipe) == (members[2].model, members[2].recipe)
    assert joint.members == tuple(members)
    assert (joint.data.name, joint.data.licence) == (DATA.name, DATA.licence)
    assert joint.data.train_ids == ("small", "shared", "odd", "large")
    assert joint.data.val_ids == ("v",)  # what one was trained on is not held out
    assert joint.scores == {}
    other = dataclasses.replace(
        members[0],
        data=dataclasses.replace(DATA, name="others", licence="", synthetic=True, train_ids=("o",)),
        parent=Parent("bundled", "12", dataclasses.replace(DATA, train_ids=("p",))),
    )
    mixed = joint_provenance([members[1], other])
    assert (mixed.data.name, mixed.data.licence) == ("drawings + others", "")
    assert not mixed.data.synthetic
    assert joint_provenance([other, dataclasses.replace(other, epoch=3)]).data.synthetic
    assert mixed.trained_ids() == {"odd", "shared", "o", "p"}
    again = Provenance(**fields_of(json.loads(json.dumps(mixed.plain()))))
    assert again.plain() == mixed.plain()
    assert again.trained_ids() == mixed.trained_ids()
    with pytest.raises(TypeError):
        fields_of({**mixed.plain(), "members": [3]})


@pytest.mark.parametrize(("name", "parts"), [("fused", ("small", "large")), ("three", SIZES)])
def test_one_file_gives_what_the_checkpoints_give(
    networks: dict[str, Path], name: str, parts: tuple[str, ...]
) -> None:
    paths = [networks[part] for part in parts]
    together, fused = load(paths, "cpu"), load(networks[name])
    assert isinstance(fused.network, OnnxNetwork)
    assert fused.threshold == together.threshold
    assert fused.checkpoint.plain() == together.checkpoint.plain()
    # Of sizes that divide each other the photos are equal to the byte; else halves may go up in
    # one and down in the other.
    tolerance = 1e-5 if name == "fused" else 3e-3
    for photo in photos():
        one, other = together(photo), fused(photo)
        difference = np.abs(one.low_res_probabilities - other.low_res_probabilities)
        assert difference.max() < tolerance
        assert one.low_res_probabilities.std() > 0
    for order in (paths, paths[::-1]):
        assert algorithm_of(load(order, "cpu")) == algorithm_of(fused)
    assert fused.network.source == joint_checksum([checksum(path) for path in paths])


def test_every_resize_has_a_name_that_the_page_knows(networks: dict[str, Path]) -> None:
    """The page runs them on the processor, as WebGPU knows no antialiasing."""
    names = [
        [node.name for node in onnx.load(networks[name]).graph.node if node.op_type == "Resize"]
        for name in ("fused", "three")
    ]
    inner = ["resize_1", "resize_2", "resize_3", "resize_4", "resize_5", "resize_6"]
    assert names == [["shrink", *inner[:3], "enlarge"], ["shrink", *inner, "enlarge"]]


def test_one_file_in_int8(networks: dict[str, Path], tmp_path: Path) -> None:
    parts = [networks["small"], networks["large"]]
    written = export(parts, tmp_path / "small.onnx", kernels="int8")
    assert written.size < networks["fused"].stat().st_size / 2
    assert len(open_network(written.path).provenance.members) == 2


def test_segment_with_several(
    networks: dict[str, Path], tmp_path: Path, lesionseg: Command
) -> None:
    paths = [networks["small"], networks["large"]]
    for index in range(3):
        write_photo(tmp_path / "photos" / f"{index}.png", index)
    words = ("segment", tmp_path / "photos", "--json", "--batch-size", 2, "-o")
    ended = lesionseg(*words, tmp_path / "masks", "-c", paths[0], "-c", paths[1])
    assert ended.status == 0
    assert (
        f"checkpoints {paths[0]}, {paths[1]} (threshold 0.494, the mean of 2 networks) on cpu\n"
        in ended.err
    )
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["checkpoint"] for line in lines] == [list(map(str, paths))] * 3
    both = load(paths, "cpu")
    for index in range(3):
        mask, _ = read_mask(tmp_path / "masks" / f"{index}_segmentation.png", truth=False)
        assert (mask == both(tmp_path / "photos" / f"{index}.png").mask).all()
    again = lesionseg(*words, tmp_path / "again", "-c", networks["fused"])
    assert "fused.onnx (threshold 0.494, the mean of 2 networks) on cpu (ONNX" in again.err
    (first, *_) = map(json.loads, again.out.splitlines())
    assert first["checkpoint"] == str(networks["fused"])
    assert first["quality"] == pytest.approx(lines[0]["quality"], abs=1e-3)
    twice = lesionseg(*words, tmp_path / "twice", "-c", paths[0], "-c", paths[0])
    assert (twice.status, twice.err.count("\n")) == (1, 1)


def test_eval_of_several_as_one(
    networks: dict[str, Path], tmp_path: Path, lesionseg: Command
) -> None:
    data = write_pairs(tmp_path / "set", 0, 1, 2)
    two = ("-c", networks["small"], "-c", networks["large"])
    words = ("eval", "--data", data, *two, "--json", "--report", tmp_path / "report")
    summary = json.loads(lesionseg(*words, "--ensemble").out)
    assert summary["photos"] == 3
    assert summary["threshold"] == pytest.approx(0.494)
    assert summary["checkpoint"]["file"] is None
    files = [member["file"] for member in summary["checkpoint"]["mean_of"]]
    assert files == [str(networks["small"]), str(networks["large"])]
    assert summary["notes"][0] == "masks of the mean of 2 networks' probabilities"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "small.pt + " in page
    assert "the mean of 2 networks: epoch 0, recipe classic, width 32 at 32 pixels" in page
    own = api.evaluate(data, [networks["small"], networks["large"]], ensemble=True, device="cpu")
    assert own.summary.dice.mean == summary["dice"]["mean"]
    assert own.name == "small.pt + large.pt"
    assert display_paths.checkpoint_file(own).count("small.pt + ") == 1
    ((hidden,), _) = hide_names([own])
    assert "small" not in repr(dataclasses.replace(hidden, command=""))
    compared = json.loads(lesionseg(*words).out)  # without --ensemble: side by side
    assert [one["name"] for one in compared["evaluations"]] == ["small.pt", "large.pt"]
    bundled = json.loads(lesionseg(*words[:-1], tmp_path / "b", "-c", "bundled", "--ensemble").out)
    assert bundled["checkpoint"]["mean_of"][2]["file"] == str(store.BUNDLED_FILE)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("eval", "-c", "SMALL", "--ensemble"), 2, "--ensemble needs at least two --checkpoint"),
        (("eval", "--ensemble"), 2, "--ensemble needs at least two --checkpoint"),
        (
            ("eval", "-c", "SMALL", "-c", "LARGE", "--ensemble", "--out-of-fold"),
            2,
            "combined with --out-of",
        ),
        (("export", "-c", "SMALL", "-c", "LARGE"), 2, "name it, such as -o both.onnx"),
        (("export", "-c", "SMALL", "-c", "FUSED", "-o", "a.onnx"), 1, "not a lesionseg checkpoint"),
        (("export", "-c", "SMALL", "-c", "SMALL", "-o", "a.onnx"), 1, "given more than once"),
        (("segment", "a.png", "-o", "b.png", "-c", "SMALL", "-c", "nosuch"), 1, "no checkpoint 'n"),
    ],
)
def test_what_cannot_be_joined(
    networks: dict[str, Path],
    tmp_path: Path,
    lesionseg: Command,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "a.png")
    ended = lesionseg(*(networks.get(word.lower(), word) for word in words))
    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_mean_of_one_is_that_network(networks: dict[str, Path]) -> None:
    alone = load([networks["small"]], "cpu")
    assert not isinstance(alone.network, Ensemble)
    assert alone.path == networks["small"]


@pytest.mark.parametrize("kernels", ["float32", "int8"])
def test_one_checkpoint_of_several_gives_the_mean(
    networks: dict[str, Path], tmp_path: Path, lesionseg: Command, kernels: str
) -> None:
    words = [word for name in SIZES for word in ("-c", networks[name])]
    path = tmp_path / "joined.pt"
    ended = lesionseg("export", "-o", path, *words, "--kernels", kernels)
    assert (ended.status, ended.out) == (0, f"{path}\n")
    joined, apart = load(path, "cpu"), load([networks[name] for name in SIZES], "cpu")
    assert joined.checkpoint.plain() == apart.checkpoint.plain()
    assert len(joined.checkpoint.members) == 3
    in_onnx = OnnxNetwork(export(path, tmp_path / "joined.onnx").path)
    for photo in photos():
        batch = shrink(photo, 64)[np.newaxis].copy()
        soft = joined.network(batch)
        atol = 1e-3 if kernels == "float32" else 0.02  # torch and Pillow round halves apart
        np.testing.assert_allclose(soft, apart.network(batch), atol=atol)
        np.testing.assert_allclose(in_onnx(batch), soft, atol=1e-4)


def test_a_joined_checkpoint_is_trained_further_each_network_by_its_own_loss(
    networks: dict[str, Path], tmp_path: Path, lesionseg: Command
) -> None:
    path = tmp_path / "joined.pt"
    words = ("-c", networks["small"], "-c", networks["large"])
    assert lesionseg("export", "-o", path, *words).status == 0
    before = checkpoints.load(path)
    data = write_pairs(tmp_path / "data", 1, 2, 3, 4)
    options = ("--data", data, "--workers", 1, "--set", "schedule=constant")
    begin = ("train", "--from", path, *options)
    ended = lesionseg(*begin, "--epochs", 2, "--run", "whole")
    assert ended.status == 0
    assert "recipe finetune, 2 networks, the largest of width 32" in ended.err
    assert lesionseg(*begin, "--epochs", 1, "--run", "parts").status == 0
    assert lesionseg("train", "--resume", "--run", "parts", "--epochs", 2).status == 0
    whole, parts = (
        checkpoints.load(store.runs_dir() / name / "last.pt") for name in ("whole", "parts")
    )
    assert [member.model for member in whole.members] == [member.model for member in before.members]
    for name, value in whole.weights.items():
        assert torch.equal(value, parts.weights[name]), name
        if name.endswith("head.weight"):
            assert not torch.equal(value, before.weights[name])
    assert whole.parent is not None
    assert whole.parent.checksum == checksum(path)
    assert [(member.epoch, member.data) for member in whole.members] == 2 * [(2, whole.data)]
    scored = lesionseg("eval", "--data", data, "--split", "all", "-c", "whole", "--device", "cpu")
    assert scored.status == 0
    assert "the network was trained on" in scored.out + scored.err
    half = lesionseg(*begin, "--set", "low_res_fraction=0.5")
    assert half.status == 2
    assert "several networks, which are trained at their full size, got 0.5" in half.err


@pytest.mark.parametrize("name", [store.BEST, store.LAST])
def test_a_run_s_checkpoint_is_not_replaced(
    networks: dict[str, Path], lesionseg: Command, name: str
) -> None:
    other = store.runs_dir() / "other" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"weights")
    ended = lesionseg("export", "-o", other, "-c", networks["small"])
    assert (ended.status, ended.out) == (1, "")
    assert "this is the checkpoint of a run; name another file to write" in ended.err
    assert other.read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        (".scale", lambda scale: None, "weights of torch.int8"),
        (".scale", lambda scale: -scale, "expected numbers above 0"),
        (".scale", lambda scale: scale.double(), "expected numbers above 0"),
        (".scale", lambda scale: scale.reshape(-1)[:1], "damaged"),
        (".scale", lambda scale: scale.flatten()[:1].reshape(1, 1, 1, 1), "does not fit its"),
        ("running_mean", lambda values: values.to(torch.complex64), "weights of torch.complex64"),
    ],
)
def test_a_damaged_checkpoint_in_int8_is_refused(
    networks: dict[str, Path],
    tmp_path: Path,
    part: str,
    change: Callable[[torch.Tensor], torch.Tensor | None],
    said: str,
) -> None:
    path = tmp_path / "joined.pt"
    join([networks["small"], networks["large"]], path, kernels="int8")
    content = torch.load(path, weights_only=True)
    name = next(name for name in content["weights"] if name.endswith(part))
    changed = change(content["weights"].pop(name))
    if changed is not None:
        content["weights"][name] = changed
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        checkpoints.load(path)


def test_a_model_that_is_not_the_largest_member_s_is_refused(
    networks: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "joined.pt"
    join([networks["small"], networks["large"]], path)
    content = torch.load(path, weights_only=True)
    content["model"]["image_size"] *= 2
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not that of its largest member"):
        checkpoints.load(path)


def test_the_command_of_a_mean_is_those_of_its_networks(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    paths = [saved(tmp_path / f"{name}.pt", seed=seed) for seed, name in enumerate(names)]
    known = [dataclasses.replace(checkpoints.load(path), command=path.stem) for path in paths]
    for path, checkpoint in zip(paths, known, strict=True):
        checkpoints.save(checkpoint, path)
    assert joint_provenance(known).command == "a && b && c"
    unknown = dataclasses.replace(known[0], command="")
    assert joint_provenance([unknown, known[1]]).command == "(unknown) && b"
    assert joint_provenance([unknown, unknown]).command == ""

    two, three = tmp_path / "two.pt", tmp_path / "three.pt"
    join(paths[:2], two)
    join([two, paths[2]], three)
    assert checkpoints.load(three).command == "a && b && c"
    earlier = torch.load(two, weights_only=True) | {"command": "a"}  # as lesionseg wrote it once
    torch.save(earlier, two)
    old = checkpoints.load(two)
    assert (old.command, [member.command for member in old.members]) == ("a && b", ["a", "b"])
    _, initial = InitialWeights.load(str(three))
    further = trainer.initial_checkpoint(
        old.model, Recipe(), DATA, "d", initial.weights, initial.parent, members=initial.members
    )
    checkpoints.save(further, three)
    assert checkpoints.load(three).command == "d"


def test_in_training_each_network_has_its_own_loss(networks: dict[str, Path]) -> None:
    """Its gradient is that of training alone, as a mean over the networks."""
    members = [checkpoints.load(networks[name]).network() for name in ("small", "large")]
    mean = MeanUNet(members).train()
    batch = torch.from_numpy(np.stack([shrink(photo, 64) for photo in photos()]))
    batch = batch.permute(0, 3, 1, 2)
    truth = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(3)).round()
    logits = mean(batch)
    assert logits.shape == (3, 2, 64, 64)
    loss_of(logits, truth, "bce+dice").backward()  # type: ignore[no-untyped-call]
    large = members[1]
    together = [value.grad.clone() for value in large.parameters() if value.grad is not None]
    large.zero_grad()
    (loss_of(large(batch), truth, "bce+dice") / 2).backward()  # type: ignore[no-untyped-call]
    alone = [value.grad for value in large.parameters() if value.grad is not None]
    assert len(together) == len(alone) == len(list(large.parameters()))
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_is_not_written_over_one_that_it_is_made_of(
    networks: dict[str, Path], lesionseg: Command
) -> None:
    before = networks["small"].read_bytes()
    ended = lesionseg("export", "-o", networks["small"], "-c", networks["small"])
    assert ended.status == 1
    assert "name another file to write" in " ".join(ended.err.split())
    assert networks["small"].read_bytes() == before


def test_one_checkpoint_in_int8_is_small_and_nearly_the_same(
    tmp_path: Path, lesionseg: Command
) -> None:
    source = saved(tmp_path / "a.pt", width=8, seed=3)
    small = tmp_path / "small.pt"
    assert lesionseg("export", "-o", small, "-c", source, "--kernels", "int8").status == 0
    assert small.stat().st_size < 0.4 * source.stat().st_size
    whole, rounded = checkpoints.load(source), checkpoints.load(small)
    assert rounded.training is None
    assert whole.weights.keys() == rounded.weights.keys()
    for name, value in whole.weights.items():
        limit = 0.51 * value.abs().max() / 127 if value.numel() >= 5000 else 0.0
        assert (value - rounded.weights[name]).abs().max() <= limit, name


@pytest.mark.parametrize("shape", [(64, 8, 3, 3), (9, 1, 1, 1), (1,)])
def test_scales_that_do_not_fit_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = saved(tmp_path / "a.pt", width=8, seed=3)
    checkpoint = checkpoints.load(source)
    name = "encoder.2.3.weight"
    weights = {**checkpoint.weights, f"{name}.scale": torch.ones(shape)}
    checkpoints.save(dataclasses.replace(checkpoint, weights=weights), source)
    with pytest.raises(CheckpointError, match=r"a\.pt: a damaged checkpoint"):
        checkpoints.load(source)
