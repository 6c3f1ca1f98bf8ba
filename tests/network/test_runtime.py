"""Which runtime a checkpoint runs in, and that ONNX Runtime segments as torch does."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import DATA, SIZE, begun, drawing, exported, saved, torch_network, write_photo

from lesionseg import store
from lesionseg.cli import app
from lesionseg.data import synthetic
from lesionseg.errors import CheckpointError, LesionsegError
from lesionseg.images import filetypes
from lesionseg.images.arrays import Photo
from lesionseg.images.masks import read_mask
from lesionseg.images.resize import shrink
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network import runtime
from lesionseg.network.provenance import Provenance, fields_of
from lesionseg.network.runtime import EXPORTED, OnnxNetwork, TorchNetwork, checksum, open_network
from lesionseg.segmentation.segmenter import Segmentation, Segmenter, load

BUNDLED_GRAPH = store.BUNDLED_FILE.with_suffix(EXPORTED)
REAL = os.environ.get("LESIONSEG_TEST_DATA")

SEGMENT = """
import sys
from lesionseg.cli.app import main
sys.argv = ["lesionseg", "segment", *{words!r}]
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
heavy = {{"torch", "rich", "matplotlib", "onnx", "onnxscript"}} & set(sys.modules)
heavy |= {{"lesionseg.labels.formats", "lesionseg.data.discovery"}} & set(sys.modules)
heavy |= {{"lesionseg.data.catalog"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A checkpoint with its export beside it."""
    return exported(tmp_path / "run" / store.BEST)


@cache
def bundled(*, fast_start: bool = False) -> OnnxNetwork:
    return OnnxNetwork(BUNDLED_GRAPH, fast_start=fast_start)


@cache
def reference() -> TorchNetwork:
    return torch_network(checkpoints.load(store.BUNDLED_FILE))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_an_export_beside_its_checkpoint_is_what_runs(pair: Path, device: str | None) -> None:
    network = open_network(pair, device)
    assert isinstance(network, OnnxNetwork)
    assert (network.device, network.batched) == ("cpu (ONNX Runtime)", False)
    assert network.source == checksum(pair)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_torch_runs_what_was_not_exported(pair: Path, device: str | None) -> None:
    pair.with_suffix(EXPORTED).unlink()
    network = open_network(pair, device)
    assert isinstance(network, TorchNetwork)
    assert (network.device, network.batched) == ("cpu", True)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_export_of_another_checkpoint_does_not_run(pair: Path, seed: int) -> None:
    saved(pair, width=2, seed=seed, epochs=7)  # the same weights are another file, too
    network = open_network(pair)
    assert isinstance(network, TorchNetwork)
    assert (network.provenance.recipe.seed, network.provenance.recipe.epochs) == (seed, 7)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x0a"])
def test_a_file_that_is_not_an_export_does_not_stop_its_checkpoint(
    pair: Path, content: bytes
) -> None:
    pair.with_suffix(EXPORTED).write_bytes(content)
    assert isinstance(open_network(pair), TorchNetwork)


def test_with_a_gpu_the_checkpoint_runs_unless_the_processor_is_named(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: True)
    assert isinstance(open_network(pair), TorchNetwork)
    assert isinstance(open_network(pair, "cpu"), OnnxNetwork)


def test_another_device_is_one_for_torch(pair: Path) -> None:
    with pytest.raises(LesionsegError, match=r"^device 'meta' cannot be used here"):
        open_network(pair, "meta")
    with pytest.raises(LesionsegError, match=r"^no device 'abacus'"):
        open_network(pair, "abacus")


def test_a_missing_checkpoint_is_named_whatever_lies_beside_it(pair: Path) -> None:
    pair.unlink()
    with pytest.raises(CheckpointError, match=r"best\.pt: No such file"):
        open_network(pair)


@pytest.mark.parametrize("cuda", [False, True])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_an_export_given_directly(
    pair: Path, device: str | None, cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: cuda)
    pair.unlink()  # it needs no checkpoint
    network = open_network(pair.with_suffix(EXPORTED), device)
    assert isinstance(network, OnnxNetwork)
    loaded = load(pair.with_suffix(EXPORTED), device)
    assert (loaded.path, loaded.size) == (pair.with_suffix(EXPORTED), SIZE)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "abacus"])
def test_an_export_runs_on_the_processor_alone(pair: Path, device: str) -> None:
    with pytest.raises(LesionsegError) as caught:
        open_network(pair.with_suffix(EXPORTED), device)
    assert str(caught.value) == (
        f"{pair.with_suffix(EXPORTED)}: an exported network runs on the CPU, not on "
        f"{device!r}; name the checkpoint that it was exported from"
    )


def test_files_that_lesionseg_did_not_export(pair: Path, tmp_path: Path) -> None:
    whole = pair.with_suffix(EXPORTED).read_bytes()
    contents = {
        "empty": b"",
        "text": b"no network\n",
        "cut": whole[: len(whole) // 2],
        "checkpoint": pair.read_bytes(),
        "undescribed": whole.replace(b"lesionseg", b"something"),
        "later": whole.replace(b'"epoch"', b'"epock"'),
    }
    for name, content in contents.items():
        assert content != whole, name
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            open_network(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: not a network that 'lesionseg export' wrote"), name
        assert "\n" not in message, name


def test_an_export_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(CheckpointError, match=r"^cannot read network .*: no such file$"):
            OnnxNetwork(path)


def test_what_a_network_says_of_itself_survives_json() -> None:
    about = begun(2, loss="bce+dice", schedule="cosine")
    plain = about.plain()
    assert set(plain) == {
        *("model", "recipe", "data", "parent", "teachers", "epoch"),
        *("scores", "version", "command", "commit", "threshold", "members"),
    }
    again = Provenance(**fields_of(json.loads(json.dumps(plain))))
    assert again == Provenance(**{name: getattr(about, name) for name in plain})
    assert again.data == DATA
    assert isinstance(again.data.train_ids, tuple)


def test_an_export_says_of_itself_what_its_checkpoint_says(pair: Path) -> None:
    for checkpoint, network in ((pair, open_network(pair)), (store.BUNDLED_FILE, bundled())):
        assert network.provenance.plain() == checkpoints.load(checkpoint).plain()


def test_the_checksum_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum(tmp_path / "a") == expected
    with pytest.raises(CheckpointError, match=r"^cannot read .*none: No such file"):
        checksum(tmp_path / "none")


def disagreement(one: Segmentation, other: Segmentation) -> float:
    """The share of pixels in which two masks differ; of probabilities that hardly do."""
    assert np.abs(one.low_res_probabilities - other.low_res_probabilities).max() < 1e-4
    return float((one.mask != other.mask).mean())


@pytest.mark.parametrize("all_regions", [False, True])
@pytest.mark.parametrize("index", range(3))
def test_the_bundled_weights_draw_the_same_in_torch_and_onnx(index: int, all_regions: bool) -> None:
    photo, _ = synthetic.generate(0, index)
    in_onnx, in_torch = (
        Segmenter(network, all_regions=all_regions)(photo) for network in (bundled(), reference())
    )
    assert in_onnx.mask.any()
    assert disagreement(in_onnx, in_torch) <= 1e-4
    assert in_onnx.quality == pytest.approx(in_torch.quality, abs=1e-3)


@pytest.mark.skipif(REAL is None, reason="LESIONSEG_TEST_DATA names no real photos")
def test_they_draw_the_same_on_real_photos() -> None:
    photos = images_in(Path(REAL or "") / "isic-raw" / "images")[::12]
    disagreements = [
        disagreement(*(Segmenter(network)(photo) for network in (bundled(), reference())))
        for photo in photos
    ]
    assert len(disagreements) >= 5
    assert max(disagreements) <= 1e-4


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in filetypes.SUFFIXES)


def shrunk(index: int, size: int) -> Photo:
    return shrink(synthetic.generate(0, index)[0], size)


def test_a_fast_start_gives_the_same_probabilities() -> None:
    photo = shrunk(1, 256)[np.newaxis]
    assert np.abs(bundled()(photo) - bundled(fast_start=True)(photo)).max() < 1e-5


def test_several_threads_at_once_give_what_one_gives(pair: Path) -> None:
    network = OnnxNetwork(pair.with_suffix(EXPORTED), threads=1)
    photos = [shrunk(index, SIZE)[np.newaxis] for index in range(4)] * 10
    alone = [network(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network, photos))
    assert not (alone[0] == alone[1]).all()
    for one, other in zip(alone, together, strict=True):
        assert one.dtype == other.dtype == np.float32
        assert one.shape == other.shape == (1, SIZE, SIZE)
        assert (one == other).all()


def test_a_batch_gives_what_single_photos_give(pair: Path) -> None:
    network = OnnxNetwork(pair.with_suffix(EXPORTED))
    photos = np.stack([shrunk(index, SIZE) for index in range(3)])
    single = np.concatenate([network(photo[np.newaxis]) for photo in photos])
    assert np.abs(network(photos) - single).max() < 1e-6


@pytest.mark.parametrize("several", [False, True])
def test_segment_loads_nothing_that_it_does_not_need(tmp_path: Path, several: bool) -> None:
    write_photo(tmp_path / "photos" / "a.jpg")
    write_photo(tmp_path / "photos" / "b.png", 1)
    inputs = tmp_path / "photos" if several else tmp_path / "photos" / "a.jpg"
    output = tmp_path / ("masks" if several else "mask.png")
    words = [str(inputs), "-o", str(output), "-c", "bundled", "--device", "cpu"]
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEGMENT.format(words=words)],
        env={**environment, "HOME": str(home), "USERPROFILE": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(home.iterdir()) == []  # neither a cache nor what ONNX Runtime notes to send
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.startswith(
        f"checkpoint {store.BUNDLED_FILE} (bundled, threshold 0.57) on cpu (ONNX Runtime)\n"
    )
    assert output.is_dir() == several
    assert output.exists()


def test_a_folder_keeps_its_order_and_names_a_damaged_photo(
    pair: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{index}.png", index) for index in range(9)]
    whole = photos[4].read_bytes()
    photos[4].write_bytes(whole[: len(whole) // 2])
    words = ("segment", photos[0].parent, "-o", tmp_path / "masks", "-c", pair, "--json")
    monkeypatch.setattr(sys, "argv", ["lesionseg", *map(str, words), "--workers", "3"])
    monkeypatch.setattr(checkpoints, "load_network", None)  # torch is not asked
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert ended.value.code == 1
    assert [line["file"] for line in lines] == [str(photo) for photo in photos]
    assert [line["file"] for line in lines if "error" in line] == [str(photos[4])]
    assert f"error: {photos[4]}: cannot read this photo" in said.err
    assert "photos: 8 done, 1 failed, 0 skipped" in said.err
    by_torch = Segmenter(torch_network(begun(2, seed=3)))
    for index in (0, 8):
        mask, _ = read_mask(tmp_path / "masks" / f"{index}_segmentation.png")
        assert (mask == by_torch(drawing(index)[0]).mask).mean() >= 0.999
