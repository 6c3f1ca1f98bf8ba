"""The pages of --help and of the manual: examples first, docs last, no Python types."""

import importlib.metadata
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from helpers import Command, write_photo
from typer.main import get_command

from lesionseg.cli import app, help, manual

GROUP: Any = get_command(app.application())
NAMES = list(GROUP.commands)
BOX = re.compile("[╭╮╰╯│─]")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_page_shows_no_python_types_and_ends_with_the_docs(lesionseg: Command, name: str) -> None:
    shown = lesionseg(*name.split(), "--help").out
    assert not re.search(r"<(bool|int|float|str|path|Path)|list\[", shown)
    assert " ".join(BOX.sub("", shown).split()).endswith(" ".join(help.DOCS.split()))


@pytest.mark.parametrize("name", ["", *NAMES])
def test_examples_come_before_the_options(lesionseg: Command, name: str) -> None:
    shown = lesionseg(*name.split(), "--help").out
    assert 0 < shown.index("Examples:") < shown.index("╭")


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_command_lines_that_parse(name: str) -> None:
    text = next(p for p in help.paragraphs(GROUP.commands[name].callback) if "Examples:" in p)
    lines = [line.strip() for line in text.splitlines()[1:]]
    words = [shlex.split(part) for line in lines for part in re.split("[|>]", line)]
    typed = [line[2:] for line in words if line[:1] == ["lesionseg"]]
    assert typed
    for arguments in typed:
        GROUP.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("name", app.COMMANDS)
def test_a_command_is_listed_with_the_first_line_of_its_docstring(name: str) -> None:
    assert app.SUMMARIES[name] == help.paragraphs(GROUP.commands[name].callback)[0]
    listed: Any = get_command(app.application(()))
    assert listed.commands[name].help == app.SUMMARIES[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_is_long(name: str) -> None:
    panels: dict[str, int] = {}
    for param in GROUP.commands[name].params:
        panel = getattr(param, "rich_help_panel", None) or "Options"
        panels[panel] = panels.get(panel, 0) + (not getattr(param, "hidden", False))
    assert max(panels.values(), default=0) <= 10, panels


@pytest.mark.parametrize("name", NAMES)
def test_help_as_a_command(lesionseg: Command, name: str) -> None:
    asked, direct = lesionseg("help", name), lesionseg(name, "--help")
    assert (asked.status, asked.out.strip()) == (0, direct.out.strip())


def test_help_without_a_name_and_of_no_command(lesionseg: Command) -> None:
    assert all(name in lesionseg("help").out for name in NAMES)
    wrong = lesionseg("help", "nosuch")
    assert wrong.status == 2
    assert "'nosuch'" in wrong.err
    assert "segment" in wrong.err


def test_quiet_leaves_results_and_errors(lesionseg: Command, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    words = ("segment", photo, tmp_path / "nosuch.png", "-o", tmp_path / "masks", "-c", "bundled")
    loud, quiet = lesionseg(*words, "--json"), lesionseg(*words, "--json", "--quiet")
    assert "checkpoint" in loud.err
    assert loud.status == quiet.status == 1
    (line,) = quiet.err.splitlines()
    assert line.startswith("error: ")
    assert len(quiet.out.splitlines()) == len(loud.out.splitlines())
    assert "checkpoint" in lesionseg(*words).err  # the next command speaks again


def test_manual_pages_are_installed() -> None:
    files = importlib.metadata.files("lesionseg") or []
    pages = {path.name for path in files if path.parent.as_posix().endswith("share/man/man1")}
    assert pages == set(manual.pages())


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff to read manual pages with")
@pytest.mark.parametrize("page", manual.pages().values(), ids=manual.pages())
def test_a_manual_page_reads_without_a_warning(page: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii"], input=page, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "EXAMPLES" in re.sub(".\b", "", done.stdout)  # without overstriking


SINGLE = [
    (name, param)
    for name in NAMES
    for param in GROUP.commands[name].params
    if param.param_type_name == "option" and not (param.multiple or param.is_flag)
]


@pytest.mark.parametrize(
    ("name", "param"), SINGLE, ids=[f"{name} {param.opts[0]}" for name, param in SINGLE]
)
def test_an_option_of_one_value_is_refused_twice_or_empty(
    lesionseg: Command, tmp_path: Path, name: str, param: Any
) -> None:
    choices = get_args(param.type_descriptor.annotation)
    value = str(tmp_path / "cache") if param.name == "cache_dir" else next(iter(choices), "1")
    for first, second in ((param.opts[0], param.opts[-1]), (param.opts[-1], param.opts[0])):
        ended = lesionseg(name, first, value, second, value)
        assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "was given 2 times" in ended.err
        assert all(option in ended.err for option in param.opts)
    empty = lesionseg(name, param.opts[0], "")
    assert (empty.status, empty.out, empty.err.count("\n")) == (2, "", 1)


def test_lists_and_flags_may_be_repeated(lesionseg: Command, tmp_path: Path) -> None:
    repeated = lesionseg("eval", "-c", "nosuch", "-c", "bundled", "--json", "--json", "-q", "-q")
    assert (repeated.status, "no checkpoint 'nosuch'" in repeated.err) == (1, True)
    photo = write_photo(tmp_path / "a.png")
    empty = lesionseg("segment", photo, "", "-o", tmp_path / "masks")
    assert (empty.status, "the value is empty" in empty.err) == (2, True)
    assert not (tmp_path / "masks").exists()
