"""The same cases through Python and through the page's JavaScript: `cases.json` holds both sides.

`python tests/web/test_cases.py` writes what Python gives now for the inputs that stand there;
`cases.test.mjs` runs them through the modules of the page (`node --test`).
"""

import base64
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionseg.images.arrays import Mask, Photo, Probabilities
from lesionseg.images.resize import enlarged_above, shrink
from lesionseg.segmentation.measurements import measure
from lesionseg.segmentation.postprocess import keep_largest_region
from lesionseg.segmentation.quality import agreement

HERE = Path(__file__).parent
FILE = HERE / "cases.json"
NODE = shutil.which("node")
Case = dict[str, Any]
MEASURED = (
    *("area_px", "area_mm2", "perimeter_px", "perimeter_mm", "longest_diameter_px"),
    *("longest_diameter_mm", "frame_share", "touches_frame", "mm_per_pixel"),
)


def photo(width: int, height: int) -> Photo:
    """A pattern with every value and no symmetry; `cases.test.mjs` makes the same."""
    y, x, channel = np.indices((height, width, 3))
    values = (x * x + 3 * x * y + 7 * y + 50 * channel + x * y // 5) % 256
    return np.asarray(values, np.uint8)


def probabilities(side: int, shift: int) -> Probabilities:
    """Multiples of 1/256, so that both languages hold the same ones."""
    y, x = np.indices((side, side))
    values = 128 + 9 * (side / 3 + shift - np.hypot(x - side / 2, y - side / 3))
    return np.asarray(np.floor(values).clip(1, 255) / 256, np.float32)


def mask_of(rows: list[str]) -> Mask:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def rows_of(mask: Mask) -> list[str]:
    return ["".join(".#"[int(pixel)] for pixel in row) for row in mask]


def shrunk(case: Case) -> Case:
    small = shrink(photo(case["width"], case["height"]), case["size"])
    return {"bytes": base64.b64encode(small.tobytes()).decode()}


def draft(case: Case) -> Case:
    buffer = io.BytesIO()
    Image.new("L", (case["width"], case["height"])).save(buffer, "JPEG")
    with Image.open(buffer) as image:
        image.draft(None, (2 * case["size"], 2 * case["size"]))
        return {"scale": round(case["width"] / image.width)}


def enlarged(case: Case) -> Case:
    soft = probabilities(case["side"], case["shift"])
    size = case["height"], case["width"]
    return {"rows": rows_of(enlarged_above(soft, *size, case["threshold"]))}


def quality(case: Case) -> Case:
    return {"quality": agreement(probabilities(case["side"], case["shift"]), case["threshold"])}


def largest(case: Case) -> Case:
    return {"rows": rows_of(keep_largest_region(mask_of(case["mask"])))}


def measured(case: Case) -> Case:
    values = measure(mask_of(case["mask"]), mm_per_pixel=case["mm_per_pixel"])
    return {name: getattr(values, name) for name in MEASURED}


BY_PYTHON: dict[str, Callable[[Case], Case]] = {
    "shrink": shrunk,
    "draft": draft,
    "enlarge": enlarged,
    "quality": quality,
    "largest_region": largest,
    "measurements": measured,
}


def cases() -> list[tuple[str, Case, Case]]:
    """Kind, input and expected value of each."""
    content = json.loads(FILE.read_text())
    return [(kind, *pair) for kind, pairs in content.items() for pair in pairs]


@pytest.mark.parametrize(("kind", "inputs", "expected"), cases())
def test_python_gives_it(kind: str, inputs: Case, expected: Case) -> None:
    result = BY_PYTHON[kind](inputs)
    assert result.keys() == expected.keys()
    for name, value in result.items():
        wanted = expected[name]
        assert value == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), name


def test_every_kind_has_cases_that_differ() -> None:
    for kind in BY_PYTHON:
        values = [json.dumps(expected) for other, _, expected in cases() if other == kind]
        assert len(set(values)) > 2, kind


@pytest.mark.skipif(NODE is None, reason="no Node.js: apt-get install nodejs")
def test_the_page_gives_it() -> None:
    done = subprocess.run(
        [str(NODE), "--test", str(HERE / "cases.test.mjs")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"# pass {len(cases()) + 1}\n" in done.stdout


def _written(content: dict[str, list[list[Case]]]) -> str:
    return json.dumps(
        {kind: [[pair[0], BY_PYTHON[kind](pair[0])] for pair in content[kind]] for kind in content},
        indent=1,
    )


if __name__ == "__main__":
    FILE.write_text(_written(json.loads(FILE.read_text())) + "\n")
    sys.exit()
