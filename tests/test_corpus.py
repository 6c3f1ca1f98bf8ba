"""Some hundreds of damaged files: each is read, or a line says why not."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers import exported

from lesionseg.network.runtime import EXPORTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no os.wait4")


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "corpus.py"
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpus"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def test_every_file_is_read_or_refused(corpus: ModuleType, tmp_path: Path) -> None:
    corpus.generate(tmp_path / "files", seed=0, mutations=40)
    # What becomes of a file is decided before the network, which as ONNX needs no torch.
    network = exported(tmp_path / "small.pt").with_suffix(EXPORTED)
    table = corpus.examine(tmp_path / "files", batch=130, seconds=300, checkpoint=network)
    assert table.files > 250
    assert table.masks >= 9  # the sound ones, and some that are damaged little
    assert table.masks + table.refused == table.files
    assert table.sound, table
    assert (table.extra_lines, table.memory < 2000) == (0, True), table


def test_the_same_seed_gives_the_same_files(corpus: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        corpus.generate(tmp_path / name, seed=5, mutations=16)
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert len(names) == 6 * 17 + 3 * 2
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("err", "has_mask", "expected"),
    [
        ("", True, (1, 0, 0, 0, 0)),
        ("error: a.png: damaged\n", False, (0, 1, 0, 0, 0)),
        ("", False, (0, 0, 1, 0, 0)),
        ("error: a.png: one\nerror: a.png: two\n", False, (0, 1, 0, 1, 0)),
        ("TIFFReadDirectory: bad\n", True, (1, 0, 0, 1, 0)),
        ("Traceback (most recent call last)\n", False, (0, 0, 1, 1, 1)),
    ],
)
def test_the_table_counts(
    corpus: ModuleType, err: str, has_mask: bool, expected: tuple[int, ...]
) -> None:
    table = corpus.Table(files=1)
    corpus._count(table, corpus.Ended(0, err, 1, False), [Path("a.png")], [has_mask])
    counts = (table.masks, table.refused, table.silent, table.extra_lines, table.tracebacks)
    assert counts == expected
