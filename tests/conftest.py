"""What every test starts from."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers import Command, Ended
from hypothesis import settings

from lesionseg import store
from lesionseg.cli import app

# No deadlines: a busy machine fails no test.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


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


@pytest.fixture(scope="module")
def packed_once() -> Iterator[None]:
    """Compress each file of the page's runtime once, not for every page that is written."""
    from lesionseg.web import pages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_packed", cache(pages._packed))
        patch.setattr(pages, "_letters", cache(pages._letters))
        yield
