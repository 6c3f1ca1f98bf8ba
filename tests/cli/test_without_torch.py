"""The install without torch: what it needs, what works in it, and one line for what does not.

`scripts/check_without_torch` makes such an install and compares its masks.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import exported, write_pairs, write_photo

from lesionseg import store

ROOT = Path(__file__).parent.parent.parent
RUN = """
import sys
sys.modules["torch"] = sys.modules["matplotlib"] = None  # as where they are not installed
from lesionseg.cli.app import main
sys.argv = ["lesionseg", *{words!r}]
main()
"""


def without_torch(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a Python of its own that cannot import torch."""
    code = RUN.format(words=[str(word) for word in words])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_lists_agree_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [line for line in project["dependencies"] if not line.startswith("torch>")]
    lines = (ROOT / "requirements-segment.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == needed
    assert len(needed) == len(project["dependencies"]) - 1
    overrides = (ROOT / "overrides-segment.txt").read_text("utf-8").splitlines()
    assert [line for line in overrides if not line.startswith("#")] == [
        'torch ; python_version < "0"'
    ]


@pytest.mark.parametrize("name", [None, *store.BUNDLED_FILES])
def test_masks_and_scores_are_made_without_torch(tmp_path: Path, name: str | None) -> None:
    checkpoint = name or exported(tmp_path / "a.pt")
    photo, mask = write_photo(tmp_path / "photo.png"), tmp_path / "mask.png"
    done = without_torch("segment", photo, "-o", mask, "-c", checkpoint)
    assert done.returncode == 0, done.stderr
    assert mask.exists()
    pairs = write_pairs(tmp_path / "set", 0, 1)
    done = without_torch("eval", "--data", pairs, "-c", checkpoint, "--json")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["train", "export", "device", "checkpoint"])
def test_what_needs_torch_says_so_in_one_line(tmp_path: Path, command: str) -> None:
    checkpoint = exported(tmp_path / "a.pt")
    photo = write_photo(tmp_path / "photo.png")
    segment = ("segment", photo, "-o", tmp_path / "mask.png", "-c", checkpoint)
    words: dict[str, tuple[object, ...]] = {
        "train": ("train", "--data", write_pairs(tmp_path / "set", 0, 1, 2)),
        "export": ("export", "-c", checkpoint, "-o", tmp_path / "b.onnx"),
        "device": (*segment, "--device", "cuda"),
        "checkpoint": segment,
    }
    if command == "checkpoint":
        (tmp_path / "a.onnx").unlink()
    done = without_torch(*words[command])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: this needs torch, which is not installed"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mask.png").exists()


def test_the_readme_names_the_torch_of_the_constraints() -> None:
    """A CPU build of another version would be replaced by the CUDA build of this one."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in readme
    assert "pip install torch --index-url" not in readme
