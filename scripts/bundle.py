"""Makes the weights that come with the package out of a run's best checkpoint.

    python scripts/bundle.py RUN_FOLDER --data DIR --commit COMMIT

Kernels in half precision, and of the machine that trained it nothing but the command; scored on
the validation photos as `lesionseg eval` does, and the scores written into the file. Prints them,
with the file's size and checksum, for MODEL_CARD.md.
"""

import argparse
import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path

from torch import Tensor

from lesionseg import checkpoint as checkpoints
from lesionseg import store
from lesionseg.evaluation import evaluate
from lesionseg.inference import Segmenter
from lesionseg.metrics import summarise
from lesionseg.runs import Source


def _halved(name: str, value: Tensor) -> Tensor:
    """Kernels in half precision; the few numbers else, whose range is not known, as they are."""
    return value.half() if name.endswith("weight") and value.ndim == 4 else value


def _pack(path: Path) -> None:
    """Deflates the records of a checkpoint, which is a zip; torch writes them as they are."""
    with zipfile.ZipFile(path) as plain:
        records = [(name, plain.read(name)) for name in plain.namelist()]
    with (
        store.replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name, content in records:
            packed.writestr(name, content)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--output", type=Path, default=store.BUNDLED_FILE)
    given = parser.parse_args()
    best = checkpoints.load(given.run / store.BEST)
    bundled = dataclasses.replace(
        best,
        weights={name: _halved(name, value) for name, value in best.weights.items()},
        data=dataclasses.replace(best.data, folder="", photos_folder="", truth_folder=""),
        commit=given.commit,
        training=None,
    )
    pairs = Source(given.data).find().split("val")
    if {pair.id for pair in pairs} != {*best.data.val_ids}:
        parser.error(f"{given.data}: its validation photos are not those of the run")
    scored = evaluate(Segmenter(bundled), pairs, batch_size=8, workers=2)
    summary = summarise([score.confusion for score in scored.scores])
    scores = {
        name: getattr(summary, name).mean for name in ("dice", "jaccard", "threshold_jaccard")
    }
    scores |= {"failures": summary.failures, "val_photos": summary.photos}
    checkpoints.save(dataclasses.replace(bundled, scores=scores), given.output)
    _pack(given.output)
    content = given.output.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    print(json.dumps({**scores, "bytes": len(content), "sha256": digest}, indent=2))


if __name__ == "__main__":
    main()
