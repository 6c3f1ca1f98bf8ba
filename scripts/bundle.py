"""Make the weights that come with the package out of a run's best checkpoint.

    python scripts/bundle.py RUN_FOLDER --data DIR --commit COMMIT [OPTIONS]

With `--mean`, their mean with the weights of other networks of the same shape, which started from
the same weights (Wortsman et al. 2022, arXiv:2203.05482): of no more arithmetic than one of them.
Batch normalisation by the means of an epoch, unless told otherwise; kernels in half precision, and
of the machine that trained it nothing but the command, without folders; scored on the validation
photos as `lesionseg eval` does, and the scores written into the file, with the threshold that they
are of. Beside it the same network as ONNX, which refers to the kernels of the first, and one with
kernels in int8 for the page of `lesionseg page`. Prints the scores, and each file's size and
checksum, for MODEL_CARD.md. Needs the extra `export`.
"""

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from onnx import StringStringEntryProto, TensorProto, helper
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor

from lesionseg import files, store
from lesionseg.data.cache import CachedPairs
from lesionseg.data.loader import Loader
from lesionseg.data.source import Source
from lesionseg.evaluation.scoring import evaluate
from lesionseg.metrics import summarise
from lesionseg.network import checkpoint as checkpoints
from lesionseg.network.checkpoint import Checkpoint
from lesionseg.network.device import memory_format
from lesionseg.network.export import PhotoToMask, export, program
from lesionseg.network.provenance import Parent, TrainingData
from lesionseg.network.runtime import EXPORTED, INT8, TorchNetwork, checksum
from lesionseg.segmentation.segmenter import Segmenter
from lesionseg.training.runs import gather


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


def _halved(name: str, value: Tensor) -> Tensor:
    """Store kernels in half precision; the few other numbers, of unknown range, as they are."""
    return value.half().contiguous() if name.endswith("weight") and value.ndim == 4 else value


def _graph(path: Path) -> bytes:
    """Write the network of a checkpoint as ONNX whose kernels are those in the checkpoint's file.

    torch writes every tensor as its plain bytes, which ONNX can refer to ("external data"), so that
    the package carries the kernels once.
    """
    checkpoint, unet = checkpoints.load_network(path)
    whole = PhotoToMask(unet, checkpoint.threshold).eval()
    exported = program(whole, checkpoint, checksum(path), optimise=False)  # keeps every kernel
    fold_constants(exported.model)
    remove_unused_nodes(exported.model)
    model, content = exported.model_proto, path.read_bytes()
    casts = []
    for tensor in list(model.graph.initializer):
        kernel = checkpoint.weights.get(tensor.name.removeprefix("network."))
        if kernel is None or kernel.dtype != torch.float16:
            continue
        plain = kernel.numpy().tobytes()
        half = TensorProto(name=f"{tensor.name}_half", data_type=TensorProto.FLOAT16)
        half.dims.extend(kernel.shape)
        half.data_location = TensorProto.EXTERNAL
        place = {"location": path.name, "offset": content.index(plain), "length": len(plain)}
        half.external_data.extend(
            StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()
        )
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    assert len(casts) == sum(value.dtype == torch.float16 for value in checkpoint.weights.values())
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        del node.metadata_props[:]  # where in the exporter's code it comes from
    text: bytes = model.SerializeToString(deterministic=True)
    return text


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


def _anonymous(parent: Parent, known: frozenset[str]) -> Parent:
    """Keep of an ancestor or teacher the name of its run, and the ids that are not known anyway."""
    unknown = tuple(photo for photo in parent.data.train_ids if photo not in known)
    place = Path(parent.file)
    return dataclasses.replace(
        parent,
        file=place.parent.name if place.name == store.BEST else place.name,
        data=dataclasses.replace(_without_places(parent.data), train_ids=unknown, val_ids=()),
        parent=parent.parent and _anonymous(parent.parent, known),
        teachers=tuple(_anonymous(teacher, known) for teacher in parent.teachers),
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--mean", type=Path, nargs="*", default=[], help="checkpoints")
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
    if (material.data.train_ids, material.data.val_ids) != (best.data.train_ids, best.data.val_ids):
        parser.error(f"{options.data}: its photos are not those of the run")
    if not options.keep_statistics:
        best = _settled(best, material.training)
    known = frozenset(best.data.train_ids)
    bundled = dataclasses.replace(
        best,
        weights={name: _halved(name, value) for name, value in best.weights.items()},
        data=_without_places(best.data),
        command=_without_folders(best.command),
        parent=best.parent and _anonymous(best.parent, known),
        teachers=tuple(_anonymous(teacher, known) for teacher in best.teachers),
        commit=options.commit,
        training=None,
        threshold=best.threshold if options.threshold is None else options.threshold,
    )
    pairs = source.find().split("val")
    network = TorchNetwork(bundled.network(), bundled)
    evaluated = evaluate(Segmenter(network), pairs, batch_size=8, workers=2)
    summary = summarise([score.confusion for score in evaluated.scores])
    scores = {
        name: getattr(summary, name).mean for name in ("dice", "jaccard", "threshold_jaccard")
    }
    scores |= {"failures": summary.failures, "val_photos": summary.photos}
    checkpoints.save(dataclasses.replace(bundled, scores=scores), options.output)
    graph = options.output.with_suffix(EXPORTED)
    files.write(graph, _graph(options.output))
    small = export(options.output, options.output.with_suffix(INT8), kernels="int8").path
    written = (options.output, graph, small)
    sizes = {path.name: [path.stat().st_size, checksum(path)] for path in written}
    print(json.dumps({**scores, **sizes}, indent=2))


if __name__ == "__main__":
    main()
