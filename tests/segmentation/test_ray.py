"""Segmentation with Ray Data, on a cluster of this host."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import saved, write_photo

from lesionseg.extras import install_hint
from lesionseg.images.masks import read_mask
from lesionseg.ray import Worker, main
from lesionseg.segmentation import jobs
from lesionseg.segmentation.jobs import JobOptions
from lesionseg.segmentation.plan import OutputPaths, plan_jobs
from lesionseg.segmentation.segmenter import load

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason=f"needs Ray: {install_hint('ray')}")

# A small cluster of its own, whatever else runs on this host.
IN_A_SMALL_CLUSTER = """
import ray, runpy, sys
ray.init("local", num_cpus=2, object_store_memory=10**8, include_dashboard=False)
runpy.run_module("lesionseg.ray", run_name="__main__", alter_sys=True)
"""


def test_a_worker_writes_masks_and_reports_bad_photos(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photos" / "a.png", 1)
    checkpoint = saved(tmp_path / "net.pt", width=2, seed=3)
    worker = Worker(str(checkpoint), str(tmp_path / "masks"))
    rows = worker({"photo": [str(photo), str(tmp_path / "none.png")]})
    mask = tmp_path / "masks" / "a_segmentation.png"
    expected = load(checkpoint)(photo)
    assert np.array_equal(read_mask(mask)[0], expected.mask)
    assert rows == {
        "photo": [str(photo), str(tmp_path / "none.png")],
        "mask": [str(mask), None],
        "quality": [expected.quality, None],
        "error": [None, f"{tmp_path / 'none.png'}: no such file"],
    }


def test_what_stops_it_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> str:
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        return capsys.readouterr().err

    folders = [str(tmp_path / name) for name in ("photos", "masks", "results")]
    monkeypatch.setattr(sys, "argv", ["ray", *folders])
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run() == f"error: this needs Ray: {install_hint('ray')}\n"
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=None))
    assert run().startswith(f"error: cannot read folder {folders[0]}: ")
    for name in ("a.png", "a.jpg"):
        write_photo(tmp_path / "photos" / name)
    assert "would both give a_segmentation.png" in run()
    assert not (tmp_path / "masks").exists()


@needs_ray
def test_the_masks_are_those_of_segment(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / "photos" / f"{index}.png", index) for index in range(20)]
    damaged = tmp_path / "photos" / "damaged.jpg"
    damaged.write_bytes(b"no photo")
    checkpoint = saved(tmp_path / "net.pt", width=2, seed=3)
    folders = [tmp_path / name for name in ("photos", "masks", "told")]
    # Ray's sockets have short names only.
    with TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as short:
        settings = {
            "RAY_TMPDIR": short,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        words = [*folders, checkpoint]
        ended = subprocess.run(
            [sys.executable, "-c", IN_A_SMALL_CLUSTER, *map(str, words)],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr

    alone = tmp_path / "alone"
    planned = plan_jobs([tmp_path / "photos"], OutputPaths(alone))
    outcomes = list(jobs.run(load(checkpoint), planned, JobOptions(batch_size=8, workers=1)))
    assert len(list(folders[1].iterdir())) == len(photos)
    for mask in folders[1].iterdir():
        one, other = read_mask(mask)[0], read_mask(alone / mask.name)[0]
        assert np.array_equal(one, other), mask.name

    lines = [line for file in folders[2].iterdir() for line in file.read_text().splitlines()]
    results = {Path(line["photo"]): line for line in map(json.loads, lines)}
    assert sorted(results) == sorted([*photos, damaged])
    for outcome in outcomes:
        line = results[outcome.job.photo]
        if outcome.error is None:
            assert line["error"] is None
            assert line["quality"] == pytest.approx(outcome.quality, abs=1e-6)
        else:
            assert (outcome.job.photo, line["error"]) == (damaged, str(outcome.error))
            assert line["quality"] is None
