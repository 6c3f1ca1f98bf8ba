"""The Ray Data program of docs/clusters.md, run as it stands there, on a cluster of this host."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from helpers import saved, write_photo

from lesionseg import images
from lesionseg.extras import install_hint
from lesionseg.segmentation import jobs
from lesionseg.segmentation.jobs import JobOptions
from lesionseg.segmentation.plan import OutputPaths, plan_jobs
from lesionseg.segmentation.segmenter import load

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason=f"needs Ray: {install_hint('ray')}"
)

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
# A small cluster of its own, whatever else runs on this host.
IN_A_SMALL_CLUSTER = """
import ray, runpy, sys
ray.init("local", num_cpus=2, object_store_memory=10**8, include_dashboard=False)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def program(folder: Path) -> Path:
    """The page's program, as a file."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "import ray" in block)
    path = folder / "segment_with_ray.py"
    path.write_text(block, encoding="utf-8")
    return path


def test_the_program_of_the_page_gives_the_masks_of_segment(tmp_path: Path) -> None:
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
        words = [program(tmp_path), *folders, checkpoint]
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
        one, other = images.read_mask(mask)[0], images.read_mask(alone / mask.name)[0]
        assert np.array_equal(one, other), mask.name

    lines = [line for file in folders[2].iterdir() for line in file.read_text().splitlines()]
    told = {Path(line["photo"]): line for line in map(json.loads, lines)}
    assert sorted(told) == sorted([*photos, damaged])
    for outcome in outcomes:
        line = told[outcome.job.photo]
        if outcome.error is None:
            assert line["error"] is None
            assert line["quality"] == pytest.approx(outcome.quality, abs=1e-6)
        else:
            assert (outcome.job.photo, line["error"]) == (damaged, str(outcome.error))
            assert line["quality"] is None
