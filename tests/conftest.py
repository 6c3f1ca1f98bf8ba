"""What every test starts from."""

from pathlib import Path

import pytest
from hypothesis import settings

from lesionseg import store

settings.register_profile("unhurried", deadline=None)  # a busy machine fails no test
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, a test's own and not made yet; and no checkpoint from the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(store.CACHE_VARIABLE, str(folder))
    monkeypatch.delenv(store.CHECKPOINT_VARIABLE, raising=False)
    return folder
