"""Make the weights that come with the package out of a run's best checkpoint.

    python scripts/bundle.py RUN_FOLDER --data DIR --commit COMMIT [OPTIONS]

With `--mean`, their mean with the weights of other networks of the same shape, which started from
the same weights (Wortsman et al. 2022, arXiv:2203.05482): of no more arithmetic than one of them.
With `--join`, the mean of its probabilities and those of other networks, trained on the same
photos. Batch normalisation by the means of an epoch, unless told otherwise; kernels in int8, and of
the machine that trained it nothing but the command, without folders; scored on the validation
photos as `lesionseg eval` does, and the scores written into the file, with the threshold that they
are of. Beside it the same network as ONNX. Prints the scores, and each file's size and checksum,
for MODEL_CARD.md. Needs the extra `export`.
"""

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from lesionseg import store
from lesionseg.data.cache import CachedPairs
from lesionseg.data.loader import Loader
from lesionseg.data.source import Source
from lesionseg.evaluation.scoring import evaluate
from lesionseg.metrics import summarise
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.device import memory_format
from lesionseg.network.export import export, fuse
from lesionseg.network.provenance import Parent, TrainingData
from lesionseg.network.runtime import EXPORTED, TorchNetwork, checksum
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.training.material import gather


def _settled(best: Checkpoint, training: CachedPairs) -> Checkpoint:
    """Replace the checkpoint's statistics of batch normalisation by means over an epoch.

    Those that a training leaves behind are of its last ten batches or so.
    """
    network = best.network().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean
    cpu = torch.device("cpu")
    loader = Loader(training, cpu, memory_format(cpu))
    with torch.inference_mode():
        for _, photos, _ in loader.epoch(best.recipe, best.recipe.epochs - 1, 0):
            network(photos)
    return dataclasses.replace(best, weights=network.state_dict())


def _mean(best: Checkpoint, others: Sequence[Checkpoint]) -> Checkpoint:
    """Replace the weights and running statistics by their means over several networks."""
    if any(other.model != best.model for other in others):
        raise ValueError("networks of different shapes have no mean")
    weights = {}
    for name, value in best.weights.items():
        same = [value, *(other.weights[name] for other in others)]
        floats = value.is_floating_point()
        weights[name] = torch.stack([part.float() for part in same]).mean(0) if floats else value
    commands = [best.command, *(other.command for other in others)]
    return dataclasses.replace(best, weights=weights, command=" && ".join(commands))


def _without_folders(command: str) -> str:
    """Keep of paths the last part, and of a run's best checkpoint the run."""
    command = re.sub(rf"(?<= )/(?:\S*/)?([^/\s]+)/{store.BEST}", r"\1", command)
    return re.sub(r"(?<= )/(\S*/)?", "", command)


def _without_places(data: TrainingData) -> TrainingData:
    return dataclasses.replace(
        data,
        folder="",
        photos_folder="",
        truth_folder="",
        unlabelled_folder="",
        more_photos_folders=(),
    )


def _anonymous(checkpoint: Checkpoint) -> Checkpoint:
    """Leave out what is of the machine that trained it."""
    known = frozenset(checkpoint.data.train_ids)
    return dataclasses.replace(
        checkpoint,
        data=_without_places(checkpoint.data),
        command=_without_folders(checkpoint.command),
        parent=checkpoint.parent and _earlier(checkpoint.parent, known),
        teachers=tuple(_earlier(teacher, known) for teacher in checkpoint.teachers),
    )


def _earlier(parent: Parent, known: frozenset[str]) -> Parent:
    """Keep of an ancestor or teacher the name of its run, and the ids that are not known anyway."""
    unknown = tuple(photo for photo in parent.data.train_ids if photo not in known)
    place = Path(parent.file)
    return dataclasses.replace(
        parent,
        file=place.parent.name if place.name == store.BEST else place.name,
        data=dataclasses.replace(_without_places(parent.data), train_ids=unknown, val_ids=()),
        parent=parent.parent and _earlier(parent.parent, known),
        teachers=tuple(_earlier(teacher, known) for teacher in parent.teachers),
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--mean", type=Path, nargs="*", default=[], help="checkpoints")
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="checkpoints")
    parser.add_argument("--output", type=Path, default=store.BUNDLED_FILE)
    parser.add_argument("--threshold", type=float, help="default: that of the checkpoint")
    parser.add_argument(
        "--keep-statistics",
        action="store_true",
        help="keep batch normalisation's running statistics, as augmentation wide needs it",
    )
    options = parser.parse_args()
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        parser.error(f"--threshold: expected 0 to 1, got {options.threshold:g}")
    best = _mean(checkpoints.load(options.run / store.BEST), [*map(checkpoints.load, options.mean)])
    source = Source(options.data)
    material = gather(source, best.model.image_size, 2, lambda done, total: None)
    if not options.keep_statistics:
        best = _settled(best, material.training)
    members = [best, *map(checkpoints.load, options.join)]
    ids = material.data.train_ids, material.data.val_ids
    if any((member.data.train_ids, member.data.val_ids) != ids for member in members):
        parser.error(f"{options.data}: its photos are not those of the runs")
    joint = fuse([_anonymous(member) for member in members])
    threshold = joint.threshold if options.threshold is None else options.threshold
    bundled = dataclasses.replace(joint, commit=options.commit, threshold=threshold)
    checkpoints.save(bundled, options.output, "int8")
    bundled = checkpoints.load(options.output)  # as rounded
    network = TorchNetwork(bundled.network(), bundled)
    evaluated = evaluate(Segmenter(network), source.find().split("val"), batch_size=8, workers=2)
    summary = summarise([score.confusion for score in evaluated.scores])
    scores = {
        name: getattr(summary, name).mean for name in ("dice", "jaccard", "threshold_jaccard")
    }
    scores |= {"failures": summary.failures, "val_photos": summary.photos}
    checkpoints.save(dataclasses.replace(bundled, scores=scores), options.output, "int8")
    graph = export(options.output, options.output.with_suffix(EXPORTED), kernels="int8").path
    sizes = {path.name: [path.stat().st_size, checksum(path)] for path in (options.output, graph)}
    print(json.dumps({**scores, **sizes}, indent=2))


if __name__ == "__main__":
    main()
