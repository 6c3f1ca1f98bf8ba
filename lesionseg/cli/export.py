"""`lesionseg export`."""

from pathlib import Path
from typing import Annotated

import typer

from lesionseg import store
from lesionseg.cli import console
from lesionseg.cli.options import CacheDir, CheckpointName, Threshold, field
from lesionseg.config import Kernels
from lesionseg.errors import LesionsegError, amount


def export(
    checkpoint: CheckpointName = None,
    output: Annotated[
        Path | None,
        field(
            "The .onnx file.",
            "beside the checkpoint, where 'segment' and 'eval' find it; with --kernels int8 named "
            "NAME.int8.onnx, which they leave alone",
            "--output",
            "-o",
            metavar="FILE",
        ),
    ] = None,
    threshold: Threshold = 0.5,
    kernels: Annotated[
        Kernels,
        typer.Option(
            help="How the kernels are stored: in full, or in eight bits, a quarter of the size; "
            "masks then differ in a few pixels of the outline."
        ),
    ] = "float32",
    cache_dir: CacheDir = None,
) -> None:
    """Write a network as ONNX, for phones, clinics, and a quicker start of 'segment'.

    The file takes photos of any size, (N, H, W, 3) uint8, and gives masks of that size, (N, H, W)
    uint8 of 0 and 255. It is compared with torch before it appears. Prints its path.
    """
    from lesionseg.network.runtime import EXPORTED, INT8

    source = store.find_checkpoint(checkpoint)
    suffix = INT8 if kernels == "int8" else EXPORTED  # 'segment' takes the full one beside a run
    target = source.with_suffix(suffix) if output is None else output
    if source == store.BUNDLED_FILE and output is None:
        raise LesionsegError("the bundled weights run so already; name a file by -o to get a copy")
    if target.suffix != EXPORTED:
        raise LesionsegError(f"{target}: networks are .onnx files; name it {target.stem}.onnx")
    from lesionseg.network.export import export as write

    written = write(source, target, threshold, kernels)
    console.log(
        f"{source} as ONNX, opset {written.opset}, {amount(written.size)}, SHA-256 {written.sha256}"
    )
    console.log(
        f"compared with torch: probabilities within {written.difference:.1g}, "
        f"{written.agreement:.4%} of a mask's pixels equal"
    )
    print(target)
