"""The hint that names an extra's packages agrees with pyproject.toml, and promises no index."""

import re
import tomllib
from pathlib import Path

import pytest

from lesionseg.extras import PACKAGES, install_hint

ROOT = Path(__file__).parent.parent
TEXTS = [
    path
    for pattern in ("*.md", "docs/*.md", "lesionseg/**/*.py", "tests/**/*.py", ".github/**/*.*")
    for path in sorted(ROOT.glob(pattern))
    if path != Path(__file__)
]


def test_every_extra_names_its_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    del extras["dev"]  # needed from a checkout alone
    assert {
        name: tuple(re.split(r"[<>=~!;]", requirement)[0].strip() for requirement in requirements)
        for name, requirements in extras.items()
    } == PACKAGES


def test_the_hint_can_be_typed() -> None:
    assert install_hint("export") == (
        "pip install onnx onnxscript (in a checkout of lesionseg: pip install '.[export]')"
    )
    assert install_hint("ray").startswith("pip install 'ray[data]' ")
    with pytest.raises(KeyError):
        install_hint("nonsense")


def test_no_text_installs_lesionseg_from_an_index() -> None:
    assert len(TEXTS) > 50
    command = re.compile(r"""pip install (-\S+ )*['"]?lesionseg\b""")
    assert command.search("pip install 'lesionseg[export]'")
    assert [path.name for path in TEXTS if command.search(path.read_text("utf-8"))] == []
