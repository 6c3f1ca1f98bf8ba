"""What every test starts from."""

import contextlib
import gc
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import Command, Ended
from hypothesis import settings

from lesionseg import files, store
from lesionseg.cli import app
from lesionseg.network import export

# No deadlines: a busy machine fails no test.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

# Files that take longest come first: no process is then left with one of them at the end.
LONGEST = ("test_phone", "test_distributed", "test_app", "test_export", "test_trainer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; `--no-loadscope-reorder` keeps this order."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported, a million objects with torch."""
    gc.freeze()


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, a test's own and not made yet; and no checkpoint from the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(store.CACHE_VARIABLE, str(folder))
    monkeypatch.delenv(store.CHECKPOINT_VARIABLE, raising=False)
    return folder


@pytest.fixture
def lesionseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line within this process."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["lesionseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard also where the tests run in the background of a script, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all test processes."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def converted_once(common_folder: Path) -> Iterator[None]:
    """Let torch's exporter, which takes seconds, convert a network once for all test processes."""
    convert = export.program
    patch = pytest.MonkeyPatch()

    @cache
    def keep_registry() -> None:
        """Build the exporter's table of operators, a second's work, once a process."""
        with contextlib.suppress(ImportError, AttributeError):  # it is private
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            build = staticmethod(cache(ONNXRegistry.from_torchlib))
            patch.setattr(ONNXRegistry, "from_torchlib", build)

    def program(whole: Any, checkpoint: Any, source: str) -> Any:
        keep_registry()
        path = common_folder / f"{source}-{whole.threshold}.onnx"
        if not path.is_file():
            with files.atomic_write(path) as temporary:
                content = convert(whole, checkpoint, source).model_proto.SerializeToString()
                temporary.write_bytes(content)
        import onnx

        return SimpleNamespace(model_proto=onnx.load_from_string(path.read_bytes()))

    patch.setattr(export, "program", program)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def drawn_once() -> Iterator[None]:
    """Draw the figures of trainings once, not again after each epoch: half of a small training."""
    from lesionseg.training import figures

    def once(draw: Callable[..., bytes]) -> Callable[..., bytes]:
        pictures: list[bytes] = []

        def first(*arguments: Any) -> bytes:
            if not pictures:
                pictures.append(draw(*arguments))
            return pictures[0]

        return first

    with pytest.MonkeyPatch.context() as patch:
        for name in ("curves_png", "samples_png"):
            patch.setattr(figures, name, once(getattr(figures, name)))
        yield


@pytest.fixture(scope="session")
def packed_once(common_folder: Path) -> Iterator[None]:
    """Compress each file of the page's runtime once for all test processes and pages."""
    from lesionseg.web import pages

    pack = pages._packed

    @cache
    def packed(content: bytes) -> bytes:
        path = common_folder / f"{hashlib.sha256(content).hexdigest()}.gz"
        if not path.is_file():
            files.write(path, pack(content))
        return path.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_packed", packed)
        patch.setattr(pages, "_letters", cache(pages._letters))
        yield
