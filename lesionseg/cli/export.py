"""`lesionseg export`."""

from pathlib import Path
from typing import Annotated

from lesionseg import store
from lesionseg.cli import console
from lesionseg.cli.help import OUTPUT
from lesionseg.cli.options import CacheDir, CheckpointName, Quiet, Threshold, field
from lesionseg.errors import LesionsegError, amount


def export(
    checkpoint: CheckpointName = None,
    output: Annotated[
        Path | None,
        field(
            "ONNX file.",
            "beside the checkpoint, where 'segment' and 'eval' find it",
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    threshold: Threshold = 0.5,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Export a network as ONNX, for other programs and a faster start of 'segment'.

    Examples:
        lesionseg export -o lesion.onnx --checkpoint bundled
        lesionseg export

    The file takes photos of any size, (N, H, W, 3) uint8, and gives masks of that size, (N, H, W)
    uint8 of 0 and 255. It is compared with torch before it is written. Prints its path.
    """
    from lesionseg.network.runtime import EXPORTED

    source = store.find_checkpoint(checkpoint)
    target = source.with_suffix(EXPORTED) if output is None else output
    if source == store.BUNDLED_FILE and output is None:
        raise LesionsegError("the bundled weights run so already; name a file by -o to get a copy")
    if target.suffix != EXPORTED:
        raise LesionsegError(f"{target}: networks are .onnx files; name it {target.stem}.onnx")
    from lesionseg.network.export import export as write

    exported = write(source, target, threshold)
    console.log(
        f"{source} as ONNX, opset {exported.opset}, {amount(exported.size)}, "
        f"SHA-256 {exported.sha256}"
    )
    console.log(
        f"compared with torch: probabilities within {exported.difference:.1g}, "
        f"{exported.agreement:.4%} of a mask's pixels equal"
    )
    print(target)
