"""`lesionseg page`."""

from pathlib import Path
from typing import Annotated

import typer

from lesionseg import files, store
from lesionseg.cli import console, signals
from lesionseg.cli.help import OUTPUT
from lesionseg.cli.options import CacheDir, CheckpointName, Quiet, note_run_passed_over, option
from lesionseg.errors import amount


def page(
    output: Annotated[
        Path,
        option(
            "One HTML file that opens from disk, or a folder for a web server.",
            "--output",
            "-o",
            metavar="FILE.html|DIR",
            rich_help_panel=OUTPUT,
        ),
    ],
    checkpoint: CheckpointName = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a web page that outlines lesions on a phone, without a server or the internet.

    Examples:
        lesionseg page -o lesion.html --checkpoint bundled
        lesionseg page -o public/

    One HTML file holds the page, the network and the runtime; photos never leave the device. A
    folder holds the same for a web server: there the page can be installed as an app, and works
    offline after the first visit. Prints the path.
    """
    from lesionseg.web import pages

    if output == Path("-"):
        raise typer.BadParameter("a page is a file or a folder: name it, such as -o lesion.html")
    is_file = output.suffix.lower() in (".html", ".htm")
    files.check_writable(output, is_folder=not is_file)
    if not is_file:
        pages.check_folder(output)
    source = store.find_checkpoint(checkpoint)
    note_run_passed_over(checkpoint)
    signals.interrupt()
    network = pages.load_network(source)
    size = (pages.write_file if is_file else pages.write_folder)(output, network)
    kind = "one file" if is_file else "a folder for a web server"
    console.log(f"page with {source}: {kind}, {amount(size)}")
    print(output)
