"""A network as one ONNX file: photos of any size in, masks of that size out."""

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import DATA, SIZE, begun, exported, saved, torch_network, write_pairs, write_photo
from numpy.typing import NDArray
from PIL import Image

from lesionseg import store
from lesionseg.cli import app
from lesionseg.config import ModelConfig, Recipe
from lesionseg.data import synthetic
from lesionseg.errors import LesionsegError
from lesionseg.images.arrays import Mask, Photo
from lesionseg.images.photos import read_photo
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network import export, runtime
from lesionseg.network.runtime import EXPORTED, OnnxNetwork, TorchNetwork, checksum
from lesionseg.segmentation import postprocess, quality
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.training import trainer

Bytes = NDArray[np.uint8]
REAL = os.environ.get("LESIONSEG_TEST_DATA")
PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"

# Height and width: the network's own, larger, smaller, one of each; square and not; one pixel.
SIZES = ((SIZE, SIZE), (200, 150), (20, 25), (9, 300), (300, 9), (33, 31), (1, 1), (2, 77))

WITHOUT = """
import sys
from pathlib import Path
sys.modules["onnxscript"] = None
from lesionseg.cli.app import main
sys.argv = ["lesionseg", "export", "-c", {checkpoint!r}]
main()
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its export beside it."""
    return exported(tmp_path_factory.mktemp("export") / "a.pt")


def opened(path: Path) -> onnxruntime.InferenceSession:
    """As anyone opens it who has never heard of lesionseg."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path: Path, photos: Bytes) -> tuple[Bytes, NDArray[np.float32]]:
    masks, probabilities = opened(path).run(None, {"photo": photos})
    return masks, probabilities


def photo_of(height: int, width: int, index: int = 0) -> Photo:
    photo, _ = synthetic.generate(0, index)
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def beside_border(mask: Mask) -> Mask:
    """The pixels of a mask that have a neighbour of the other kind."""
    return cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    ).astype(bool)


def assert_agree(
    masks: Bytes, photos: Bytes, network: TorchNetwork, threshold: float = 0.5, near: float = 0.01
) -> None:
    """That masks are those of the tool, but for pixels at the border or near the threshold.

    The tool shrinks large photos in two steps, and rounds after each. The maps of networks that
    were never trained are so flat that this shows.
    """
    for mask, photo in zip(masks, photos, strict=True):
        drawn = Segmenter(network, threshold, all_regions=True)(photo)
        differ = (mask == 255) != drawn.mask
        assert differ.mean() <= 0.01
        differ &= ~beside_border(drawn.mask)
        assert not (differ & (np.abs(drawn.probabilities - threshold) > near)).any()


@cache
def small() -> TorchNetwork:
    return torch_network(begun(2, seed=3))


def test_the_file_says_what_it_takes_and_gives(pair: Path) -> None:
    session = opened(pair.with_suffix(EXPORTED))
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [(value.name, value.type, value.shape) for value in (*inputs, *outputs)] == [
        ("photo", "tensor(uint8)", ["photos", "height", "width", 3]),
        ("mask", "tensor(uint8)", ["photos", "height", "width"]),
        ("probabilities", "tensor(float)", ["photos", SIZE, SIZE]),
    ]


def test_older_runtimes_have_what_it_asks_for(pair: Path) -> None:
    for path in (pair.with_suffix(EXPORTED), store.BUNDLED_FILE.with_suffix(EXPORTED)):
        model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        types |= {value.name: onnx.TensorProto.UINT8 for value in model.graph.output[:1]}
        made = {
            node.op_type
            for node in model.graph.node
            if types.get(node.output[0]) == onnx.TensorProto.UINT8
        }
        assert made <= {"Where", "Cast", "Transpose"}  # ONNX Runtime 1.20 multiplies no bytes
        assert "Where" in made


def test_the_file_is_plain_onnx(pair: Path) -> None:
    model = onnx.load(pair.with_suffix(EXPORTED))
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", export.OPSET)]
    assert not model.functions
    assert not any(item.external_data for item in model.graph.initializer)  # all in one file


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_masks_of_any_size(pair: Path, count: int, height: int, width: int) -> None:
    photos = np.stack([photo_of(height, width, index) for index in range(count)])
    masks, probabilities = run(pair.with_suffix(EXPORTED), photos)
    assert (masks.dtype.name, probabilities.dtype.name) == ("uint8", "float32")
    assert masks.shape == (count, height, width)
    assert probabilities.shape == (count, SIZE, SIZE)
    assert {*np.unique(masks)} <= {0, 255}
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert_agree(masks, photos, small())
    if min(height, width) >= SIZE:
        assert 0 < masks.mean() < 255  # so that there is something to agree on


def test_probabilities_are_those_of_the_tool(pair: Path) -> None:
    photo = photo_of(SIZE, SIZE)
    _, (soft,) = run(pair.with_suffix(EXPORTED), photo[np.newaxis])
    assert np.abs(soft - Segmenter(small())(photo).low_res_probabilities).max() < 1e-5


def test_a_batch_gives_what_single_photos_give(pair: Path) -> None:
    photos = np.stack([photo_of(90, 70, index) for index in range(3)])
    together, _ = run(pair.with_suffix(EXPORTED), photos)
    alone = [run(pair.with_suffix(EXPORTED), photo[np.newaxis])[0][0] for photo in photos]
    assert (together == np.stack(alone)).all()


def test_what_is_told_of_the_file(tmp_path: Path) -> None:
    # Most of this network's map is the threshold itself.
    source = saved(tmp_path / "a.pt", seed=5, poolings=2)
    written = export.export(source, tmp_path / "new" / "b.onnx")
    target = tmp_path / "new" / "b.onnx"
    assert (written.path, written.size) == (target, target.stat().st_size)
    assert written.sha256 == checksum(target)
    assert written.opset == onnx.load(target).opset_import[0].version == 18
    assert 0 <= written.difference < 1e-5
    assert 0.9999 <= written.agreement <= 1
    assert OnnxNetwork(target).source == checksum(source)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.pt", "b.onnx", "new"]


class Program:
    """What the exporter gives, without its seconds: the network of `helpers.exported`."""

    @property
    def model_proto(self) -> "Program":
        return self

    def SerializeToString(self) -> bytes:
        with TemporaryDirectory() as folder:
            return exported(Path(folder) / "a.pt").with_suffix(EXPORTED).read_bytes()


@pytest.fixture
def quick(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "program", lambda *_: Program())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", [None, b"an older one"])
@pytest.mark.parametrize("differences", [(0.5, 1.0), (0.0, 0.99), (float("nan"), 1.0)])
def test_a_network_that_differs_is_not_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: bytes | None,
    differences: tuple[float, float],
) -> None:
    source, target = saved(tmp_path / "a.pt"), tmp_path / "a.onnx"
    if before is not None:
        target.write_bytes(before)
    monkeypatch.setattr(export, "compared", lambda *_: differences)
    with pytest.raises(LesionsegError, match=r"differs from torch by .*; nothing was written"):
        export.export(source, target)
    assert (target.read_bytes() if target.exists() else None) == before
    assert not list(tmp_path.glob(".*"))


def test_another_network_is_told_apart(pair: Path) -> None:
    checkpoint = begun(2, seed=4)
    whole = export.PhotoToMask(checkpoint.network(), 0.5).eval()
    difference, agreement = export.compared(whole, pair.with_suffix(EXPORTED))
    assert difference > 0.01
    assert agreement < 0.99
    own = export.PhotoToMask(begun(2, seed=3).network(), 0.5).eval()
    difference, agreement = export.compared(own, pair.with_suffix(EXPORTED))
    assert difference < 1e-5
    assert agreement >= 0.9999


def test_without_the_packages_for_it(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "a.pt")
    code = WITHOUT.format(checkpoint=str(checkpoint))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: export needs the package 'onnxscript'; run: pip install onnx onnxscript "
        "(in a checkout of lesionseg: pip install '.[export]')\n"
    )
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_the_extra_brings_them() -> None:
    project = tomllib.loads((PAGE.parent.parent / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["export"]
    assert {re.split(r"\W", requirement)[0] for requirement in extra} == {"onnx", "onnxscript"}


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(2, "batch", 64, "strided", poolings=2),
        ModelConfig(8, "batch", 128, "quarter", poolings=1),
        ModelConfig(4, "none", SIZE, poolings=2),
    ],
    ids=["strided stem", "quarter stem", "no normalisation"],
)
def test_other_networks_and_thresholds(tmp_path: Path, model: ModelConfig) -> None:
    checkpoint = trainer.initial_checkpoint(model, Recipe(), DATA)
    checkpoints.save(checkpoint, tmp_path / "a.pt")
    network = torch_network(checkpoint)
    sizes = ((model.image_size, model.image_size), (20, 25))
    several = [np.stack([photo_of(*size, index) for index in range(2)]) for size in sizes]
    threshold = float(np.median(Segmenter(network)(several[0][0]).low_res_probabilities))
    assert abs(threshold - 0.5) > 0.01
    written = export.export(tmp_path / "a.pt", tmp_path / "a.onnx", threshold)
    for photos in several:
        masks, probabilities = run(written.path, photos)
        assert probabilities.shape == (2, model.image_size, model.image_size)
        assert_agree(masks, photos, network, threshold)
        assert 0 < masks.mean() < 255


def test_a_photo_s_own_mean_and_spread(tmp_path: Path) -> None:
    model = ModelConfig(4, "batch", SIZE, poolings=2, standardisation="photo")
    checkpoint = trainer.initial_checkpoint(model, Recipe(), DATA)
    checkpoints.save(checkpoint, tmp_path / "a.pt")
    network = torch_network(checkpoint)
    photos = np.stack([photo_of(SIZE, SIZE, index) for index in range(2)])
    threshold = float(np.median(Segmenter(network)(photos[0]).low_res_probabilities))
    written = export.export(tmp_path / "a.pt", tmp_path / "a.onnx", threshold)
    masks, probabilities = run(written.path, photos)
    assert_agree(masks, photos, network, threshold, near=1e-5)
    assert 0 < masks.mean() < 255
    for photo, expected in zip(photos, probabilities, strict=True):
        maps = Segmenter(network)(photo).low_res_probabilities
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_the_bundled_file_gives_masks_of_any_size() -> None:
    bundled = OnnxNetwork(store.BUNDLED_FILE.with_suffix(EXPORTED))
    checkpoint = checkpoints.load(store.BUNDLED_FILE)
    by_torch = torch_network(checkpoint)
    for height, width in ((300, 400), (90, 120)):
        photos = np.stack([photo_of(height, width, index) for index in (2, 3)])
        masks, _ = bundled.masks(photos)
        assert_agree(masks, photos, by_torch, checkpoint.threshold, near=0)
        assert masks.any()


@pytest.mark.skipif(REAL is None, reason="LESIONSEG_TEST_DATA names no real photos")
def test_masks_of_real_photos_are_those_of_the_tool() -> None:
    bundled = OnnxNetwork(store.BUNDLED_FILE.with_suffix(EXPORTED))
    photos = sorted((Path(REAL or "") / "isic-raw" / "images").iterdir())[::12]
    assert photos
    for path in photos:
        masks, _ = bundled.masks(read_photo(path)[np.newaxis])
        expected = Segmenter(bundled, all_regions=True)(path).mask
        differ = (masks[0] == 255) != expected
        assert differ.mean() <= 1e-3, path.name
        assert (differ & ~beside_border(expected)).mean() <= 2e-4, path.name


def lesionseg(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of a command line within this process."""
    monkeypatch.setattr(sys, "argv", ["lesionseg", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = saved(store.runs_dir() / "mine" / store.BEST, width=2, seed=5, poolings=2)
    by_torch = torch_network(checkpoints.load(best))
    assert lesionseg(monkeypatch, "export", "--threshold", 0.6) == 0
    target = best.with_suffix(EXPORTED)
    out, err = capsys.readouterr()
    assert out == f"{target}\n"
    assert err.splitlines()[0] == (
        f"{best} as ONNX, opset 18, {target.stat().st_size / 1e6:.1f} MB, "
        f"SHA-256 {checksum(target)}"
    )
    assert re.fullmatch(
        r"compared with torch: probabilities within \de-\d\d, "
        r"(100|99\.99\d\d)\.?0*% of a mask's pixels equal",
        err.splitlines()[1],
    )
    assert len(err.splitlines()) == 2
    photos = photo_of(120, 100)[np.newaxis]
    masks, _ = run(target, photos)
    assert_agree(masks, photos, by_torch, threshold=0.6)
    assert (masks == 255).sum() < Segmenter(by_torch, all_regions=True)(photos[0]).mask.sum()
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)
    assert isinstance(runtime.open_network(store.find_checkpoint()), OnnxNetwork)
    photo = write_photo(tmp_path / "a.png")
    for number, words in enumerate(((best, "--threshold", 0.6), (target,))):
        mask = tmp_path / f"{number}.png"
        assert lesionseg(monkeypatch, "segment", photo, "-o", mask, "-c", *words) == 0
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


@pytest.mark.usefixtures("quick")
def test_the_command_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = saved(tmp_path / "a.pt", width=2, seed=3), tmp_path / "phone" / "b.onnx"
    assert lesionseg(monkeypatch, "export", "-c", source, "-o", target) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert OnnxNetwork(target).provenance.recipe.seed == 3
    assert not source.with_suffix(EXPORTED).exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["-o", "net.pth"],
            1,
            "error: net.pth: networks are .onnx files or .pt checkpoints; name it net.onnx\n",
        ),
        (["-o", "net"], 1, "error: net: networks are .onnx files or .pt checkpoints; name it"),
        (
            [],
            1,
            "error: the bundled weights are exported already; to get a copy, name a file with -o\n",
        ),
        (["-c", "bundled-small"], 1, "error: the bundled weights are exported already; to get a"),
        (["-c", "nothing"], 1, "error: no checkpoint 'nothing'"),
        (["-o", "a.onnx", "-c", "text.pt"], 1, "error: text.pt: not a lesionseg checkpoint"),
        (["--threshold", "2"], 2, "--threshold"),
        (["photo.jpg"], 2, "lesionseg export --help'"),
    ],
)
def test_what_cannot_be_exported(
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert lesionseg(monkeypatch, "export", *words) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["text.pt"]


def test_an_export_is_no_checkpoint_to_export(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pair.with_suffix(EXPORTED).read_bytes()
    assert lesionseg(monkeypatch, "export", "-c", pair.with_suffix(EXPORTED)) == 1
    said = capsys.readouterr().err
    assert "not a lesionseg checkpoint, so it cannot be trained or exported again" in said
    assert said.endswith(f"; give the checkpoint that it was exported from: {pair}\n")
    assert pair.with_suffix(EXPORTED).read_bytes() == before


def test_endings_are_compared_without_regard_to_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, joined = exported(tmp_path / "a.pt"), tmp_path / "Z.PT"
    assert lesionseg(monkeypatch, "export", "-c", pair, "-o", joined) == 0
    assert capsys.readouterr().out == f"{joined}\n"
    assert checkpoints.load(joined).recipe.seed == 3
    network = pair.with_suffix(EXPORTED).rename(pair.with_suffix(".INT8.ONNX"))
    assert isinstance(runtime.open_network(network, "cpu"), OnnxNetwork)
    for words in (("page", "-o", tmp_path / "a.html"), ("export", "-o", tmp_path / "b.onnx")):
        assert lesionseg(monkeypatch, *words, "-c", network) == 1
        said = capsys.readouterr().err
        assert said.endswith(f"; give the checkpoint that it was exported from: {pair}\n")


@cache
def blocks() -> tuple[str, ...]:
    """The Python of docs/embedding.md: the masks, the largest region, the quality, a clock."""
    return tuple(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not beside the tests")
def test_the_page_for_developers_draws_what_segment_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "lesion.pt")
    Image.fromarray(photo_of(SIZE, SIZE, 1)).save("photo.jpg", exif=turned())
    names: dict[str, Any] = {}
    exec("\n".join(blocks()[:3]), names)  # as a reader would
    photo = read_photo(Path("photo.jpg"))
    assert (names["photo"] == photo).all()
    drawn = Segmenter(small())(photo)
    assert drawn.mask.any()
    assert (names["mask"] == drawn.mask * 255).all()
    assert names["quality"](names["probabilities"][0], 0.5) == pytest.approx(
        drawn.quality, abs=1e-3
    )
    assert capsys.readouterr().out.startswith(f"({SIZE}, {SIZE}) 0.")
    random = np.random.default_rng(0)
    for share in (0, 0.3, 0.5, 0.6, 0.7, 1):
        mask = random.random((20, 30)) < share
        region = names["largest_region"](mask.astype(np.uint8) * 255)
        assert region.dtype == np.uint8
        expected = postprocess.keep_largest_region(mask.copy())
        assert region.sum() // 255 == expected.sum()  # of equal ones it may be another
        if share > 0.5:
            assert (region == expected * 255).all()
        assert names["quality"](mask.astype(np.float32) * 0.5 + 0.2, 0.5) == pytest.approx(
            quality.agreement(mask.astype(np.float32) * 0.5 + 0.2, 0.5), abs=1e-6
        )


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    return exif


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not beside the tests")
def test_the_page_for_developers_takes_the_time(pair: Path) -> None:
    words = [str(pair.with_suffix(EXPORTED)), "60", "80", "1"]
    done = subprocess.run(
        [sys.executable, "-c", blocks()[3], *words], capture_output=True, text=True, check=False
    )
    assert re.fullmatch(r"\d\.\d\d s, \d+ MiB before, \d+ MiB at most\n", done.stdout), done.stderr


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not beside the tests")
def test_the_page_for_developers_says_what_the_file_is(pair: Path) -> None:
    page = PAGE.read_text("utf-8")
    session = opened(pair.with_suffix(EXPORTED))
    for value in (*session.get_inputs(), *session.get_outputs()):
        assert f"| `{value.name}` |" in page
    assert f"ONNX opset {export.OPSET}," in page
    assert runtime.SOURCE in page
    assert "not a medical device" in page


def test_an_export_says_which_checkpoint_to_train_instead(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "elsewhere" / "network.onnx"
    moved.parent.mkdir()
    moved.write_bytes(pair.with_suffix(EXPORTED).read_bytes())
    run = store.runs_dir() / "mine" / store.BEST
    run.parent.mkdir(parents=True)
    data = write_pairs(tmp_path / "data", 1, 2)
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"of another program")

    def refusal(option: str, network: Path) -> str:
        assert lesionseg(monkeypatch, "train", "--data", data, option, network) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {network}: an exported network, not a lesionseg checkpoint")
        assert said.count("\n") == 1
        return said

    digest = checksum(pair)
    assert f"(.pt) that it was exported from, of SHA-256 {digest[:12]}" in refusal("--from", moved)
    run.write_bytes(pair.read_bytes())
    for option in ("--from", "--teacher"):
        assert refusal(option, moved).endswith(f"that it was exported from: {run}\n")
        assert refusal(option, foreign).endswith("give a checkpoint (.pt), a run, or 'bundled'\n")
