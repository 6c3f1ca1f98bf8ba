"""`lesionseg page`."""

from pathlib import Path
from typing import Annotated

import typer

from lesionseg import store
from lesionseg.cli import console
from lesionseg.cli.options import CacheDir, CheckpointName
from lesionseg.errors import amount


def page(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.html|DIR",
            show_default=False,
            help="One file that opens from a disk; or a folder to put on a web host.",
        ),
    ],
    checkpoint: CheckpointName = None,
    cache_dir: CacheDir = None,
) -> None:
    """Write a web page that outlines lesions on a phone, with no server and no network.

    Network, runtime and page are in one HTML file. Photos never leave the device. A folder holds
    the same for a web host: it installs as an app and works offline after the first visit. Prints
    its path.
    """
    from lesionseg.web import pages

    source = store.find_checkpoint(checkpoint)
    network = pages.load_network(source)
    is_file = output.suffix.lower() in (".html", ".htm")
    size = (pages.write_file if is_file else pages.write_folder)(output, network)
    console.log(f"page with {source}: {amount(size)}")
    print(output)
