"""The package as a whole: light to import, described where people look, one version."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from helpers import saved, write_photo
from typer.main import get_command

import lesionseg
from lesionseg import store
from lesionseg.cli import app

ROOT = Path(__file__).parent.parent
COMMANDS = ("download", "check", "train", "eval", "segment", "export", "page")

LOADED = """
import sys
{code}
heavy = {{"torch", "numpy", "PIL"}} & set(sys.modules)
assert not heavy, heavy
"""
RUN = """
from lesionseg.cli.app import main
sys.argv = ["lesionseg", *{words!r}]
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
"""


def light(code: str) -> str:
    """What code prints in a Python of its own, where it may load nothing heavy."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED.format(code=code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    light("import lesionseg; assert lesionseg.__version__; lesionseg.LesionsegError")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["-h"]])
def test_the_command_alone_loads_nothing_heavy(words: list[str]) -> None:
    out = light(RUN.format(words=words))
    if words == ["--version"]:
        assert out == f"lesionseg {lesionseg.__version__}\n"
    else:
        assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    out = light(RUN.format(words=[command, "--help"]))
    assert f"lesionseg {command}" in out
    assert "--cache-dir" in out


def test_python_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lesionseg", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"lesionseg {lesionseg.__version__}\n"


def test_what_was_printed_before_an_error_is_not_lost() -> None:
    code = (
        "import lesionseg.__main__ as command\n"
        "def fails():\n    print('a result')\n    raise SystemExit(1)\n"
        "command.main = fails\ncommand.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "a result\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_is_left_to_print_at_the_end_is_not_lost_silently() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lesionseg", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    group = get_command(app.application())
    commands = getattr(group, "commands")  # noqa: B009
    assert set(commands) == {*COMMANDS, "help"}
    for name, command in commands.items():
        assert command.help.strip(), name
        assert f"lesionseg {name}" in readme
        for option in command.params:
            assert option.help, f"{name} {option.name}"


def test_the_documents_name_every_package_and_only_modules_that_exist() -> None:
    source = ROOT / "lesionseg"
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    modules = {path.stem for path in source.glob("[!_]*.py")}
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The code")[2]
    for text in (plan, table):
        assert packages | modules <= set(re.findall(r"\w+", text))
    paths = set(re.findall(r"`(\w+/\w+)`", plan))
    assert len(paths) > 30
    assert [name for name in sorted(paths) if not (source / f"{name}.py").is_file()] == []


def test_one_version_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (.*)$", citation, re.MULTILINE)
    assert newest is not None
    assert cited is not None
    assert newest[1] == cited[1] == lesionseg.__version__


def test_the_public_names_are_there() -> None:
    for name in lesionseg.__all__:
        assert getattr(lesionseg, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        lesionseg.nonsense  # noqa: B018


def test_the_example_in_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(store.runs_dir() / "first" / store.BEST, width=2)
    write_photo(tmp_path / "photo.jpg")
    lines = re.findall(r"^    .*$", lesionseg.__doc__ or "", re.MULTILINE)
    example = textwrap.dedent("\n".join(lines))
    assert "result.mask" in example
    names: dict[str, object] = {}
    exec(example, names)  # as a reader would
    result = names["result"]
    assert isinstance(result, lesionseg.Segmentation)
    assert result.mask.dtype == np.bool_
    assert result.probabilities.dtype == np.float32
    assert result.mask.shape == result.probabilities.shape
