"""`lesionseg export`."""

from pathlib import Path
from typing import Annotated

import typer

from lesionseg import files, store
from lesionseg.cli import console, signals
from lesionseg.cli.help import OUTPUT
from lesionseg.cli.options import (
    CacheDir,
    CheckpointNames,
    Quiet,
    Threshold,
    field,
    note_all,
    note_run_passed_over,
)
from lesionseg.config import Kernels
from lesionseg.errors import LesionsegError, amount


def export(
    checkpoint: CheckpointNames = None,
    output: Annotated[
        Path | None,
        field(
            "ONNX file, or with the ending .pt a checkpoint, which can be trained further.",
            "beside the checkpoint, where 'segment' and 'eval' find it; NAME.int8.onnx with "
            "--kernels int8, which they do not use",
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    threshold: Threshold = None,
    kernels: Annotated[
        Kernels,
        typer.Option(
            help=(
                "Store kernels in full or in eight bits: int8 files have a quarter of the size, "
                "and their masks differ in a few pixels of the outline."
            ),
            rich_help_panel=OUTPUT,
        ),
    ] = "float32",
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Export a network as ONNX, for other programs and for a faster start of 'segment'.

    Examples:
        lesionseg export -o lesion.onnx --checkpoint bundled
        lesionseg export
        lesionseg export -o small.onnx --kernels int8 --checkpoint bundled
        lesionseg export -o both.onnx -c run-a -c run-b
        lesionseg export -o both.pt -c run-a -c run-b --kernels int8

    The ONNX file takes photos of any size, (N, H, W, 3) uint8, and gives masks of that size,
    (N, H, W) uint8 of 0 and 255; of several networks it gives the mean of their probabilities. It
    is compared with torch before it is written. A .pt file is a checkpoint of the same network,
    which 'segment', 'eval' and 'train --from' take. Prints the file's path.
    """
    from lesionseg.network.runtime import CHECKPOINT, EXPORTED, INT8

    sources = list(map(store.find_checkpoint, checkpoint or [""]))
    if not checkpoint:
        note_run_passed_over(None)
    if len(sources) > 1 and output is None:
        raise typer.BadParameter(
            "several checkpoints are exported to one file; name it, such as -o both.onnx"
        )
    suffix = INT8 if kernels == "int8" else EXPORTED  # 'segment' takes the full one beside a run
    target = sources[0].with_suffix(suffix) if output is None else output
    if store.bundled_name(sources[0]) and output is None:
        raise LesionsegError(
            "the bundled weights are exported already; to get a copy, name a file with -o"
        )
    if target.suffix.lower() not in (EXPORTED, CHECKPOINT):
        raise LesionsegError(
            f"{target}: networks are .onnx files or .pt checkpoints; name it {target.stem}.onnx"
        )
    files.check_writable(target)
    from lesionseg.network import export as exports

    signals.interrupt()
    names = ", ".join(map(str, sources))
    if target.suffix.lower() == CHECKPOINT:
        joined = exports.join(sources, target, threshold, kernels)
        console.log(f"{names} as one checkpoint, {amount(joined.size)}, SHA-256 {joined.sha256}")
        note_all(joined.notes)
        print(target)
        return
    exported = exports.export(sources, target, threshold, kernels)
    console.log(
        f"{names} as ONNX, opset {exported.opset}, {amount(exported.size)}, "
        f"SHA-256 {exported.sha256}"
    )
    console.log(
        f"compared with torch: probabilities within {exported.difference:.1g}, "
        f"{exported.agreement:.4%} of a mask's pixels equal"
    )
    note_all(exported.notes)
    print(target)
