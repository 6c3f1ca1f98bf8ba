"""Signals at any time, and standard error that does not work: one line, results all the same."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_pairs, write_photo

from lesionseg import store
from lesionseg.cli import signals


@pytest.mark.skipif(os.name != "posix", reason="no such signals here")
@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("--help", "typer"),
        ("segment photo.png -o out/mask.png -c bundled", "typer"),
        ("segment photo.png -o out/mask.png -c bundled", "onnxruntime"),
        ("eval --data data -c bundled --masks out", "numpy"),
        ("train --data data --epochs 1", "torch.nn"),
        ("download demo", "lesionseg.data.catalog"),
    ],
)
def test_a_signal_while_packages_are_imported(
    tmp_path: Path, cache_dir: Path, words: str, module: str, number: signal.Signals
) -> None:
    write_photo(tmp_path / "photo.png")
    write_pairs(tmp_path / "data", 1, 2)
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "lesionseg", *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, store.CACHE_VARIABLE: str(cache_dir)},
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).rstrip().endswith(f" {module}"):
        assert line, f"ended without importing {module}"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, out, said) == (130, "", [signals.INTERRUPTED])
    assert not (tmp_path / "out").exists()
    assert not cache_dir.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_results_do_not_depend_on_standard_error(
    tmp_path: Path, cache_dir: Path, redirection: str
) -> None:
    write_photo(tmp_path / "photo.png")

    def run(words: str, redirection: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            f"{shlex.quote(sys.executable)} -m lesionseg {words} {redirection}",
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, store.CACHE_VARIABLE: str(cache_dir)},
            check=False,
        )

    words = "segment photo.png nosuch.png -o {0} -c bundled --json"
    normal, broken = run(words.format("a"), ""), run(words.format("b"), redirection)
    assert normal.returncode == broken.returncode == 1  # one photo is missing
    assert normal.stderr.count(b"\n") == 3
    assert broken.stderr == b""
    assert normal.stdout.count(b"\n") == broken.stdout.count(b"\n") == 2
    masks = [tmp_path / name / "photo_segmentation.png" for name in "ab"]
    assert masks[0].read_bytes() == masks[1].read_bytes()
    assert run("train --nosuch", redirection).returncode == 2


def test_a_signal_amid_another_line_is_heard() -> None:
    """Python refuses to write to a stream from a handler that interrupts a write to it."""

    def warn(message: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    with signals.stoppable(warn) as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
