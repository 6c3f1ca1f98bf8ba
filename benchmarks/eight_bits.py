"""The bundled networks in eight bits by OpenVINO, beside themselves in full: time, masks, Dice.

    pip install openvino nncf
    python benchmarks/eight_bits.py --data DIR

Quantised after training by NNCF with 300 training photos, then compared on the validation photos,
one photo at a time on all processors.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from lesionseg import store
from lesionseg.data import discovery
from lesionseg.evaluation.scoring import evaluate
from lesionseg.images.photos import read_photo_shrunk
from lesionseg.network.runtime import EXPORTED, PHOTO, PROBABILITIES, Network, OnnxNetwork
from lesionseg.segmentation.segmenter import Segmenter

CALIBRATION = 300  # photos; NNCF's own default


class OpenVino:
    """A network for a `Segmenter`."""

    batched = False

    def __init__(self, model: openvino.Model, like: OnnxNetwork) -> None:
        self.provenance, self.device = like.provenance, "cpu (OpenVINO)"
        # OpenVINO takes bfloat16 by itself where the processor has it.
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.compile_model(model, "CPU", options)

    def __call__(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `runtime.Network`."""
        outputs: dict[str, NDArray[np.float32]] = self._compiled({PHOTO: photos})
        return outputs[PROBABILITIES]


def milliseconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure what each call takes, by turns."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, rounds):  # the first ones to warm up
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn >= 0:
                spent[name].append((time.perf_counter() - began) * 1000)
    return spent


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    dataset = discovery.find(options.data)
    exported = OnnxNetwork(store.BUNDLED_FILE.with_suffix(EXPORTED))
    size = exported.provenance.model.image_size
    threshold = exported.provenance.threshold

    def photos(split: str, most: int | None = None) -> list[NDArray[np.uint8]]:
        return [
            read_photo_shrunk(pair.photo, size)[0][np.newaxis]
            for pair in dataset.split(split)[:most]
        ]

    whole = openvino.Core().read_model(store.BUNDLED_FILE.with_suffix(EXPORTED))
    calibration = nncf.Dataset(photos("train", CALIBRATION), lambda photo: {PHOTO: photo})
    quantised = nncf.quantize(whole, calibration, subset_size=CALIBRATION)
    networks: dict[str, Network] = {
        "ONNX Runtime, float32": exported,
        "OpenVINO, float32": OpenVino(whole, exported),
        "OpenVINO, int8": OpenVino(quantised, exported),
    }
    validation = photos("val")
    spent = milliseconds(
        {name: lambda run=run: run(validation[0]) for name, run in networks.items()},  # type: ignore[misc]
        options.rounds,
    )
    reference = [exported(photo) > threshold for photo in validation]
    print(f"{len(validation)} validation photos; masks at {size}x{size} against the first row's\n")
    print(
        "| network | ms a photo: median (least to most) | masks agree | Dice |\n|---|---|---|---|"
    )
    for name, run in networks.items():
        agreement = np.mean(
            [
                (run(photo) > threshold) == mask
                for photo, mask in zip(validation, reference, strict=True)
            ]
        )
        scores = evaluate(Segmenter(run), dataset.split("val"), batch_size=1, workers=1).scores
        dice = statistics.mean(score.confusion.dice for score in scores)
        times = f"{statistics.median(spent[name]):.0f} ({min(spent[name]):.0f} to "
        print(f"| {name} | {times}{max(spent[name]):.0f}) | {agreement:.2%} | {dice:.3f} |")


if __name__ == "__main__":
    main()
