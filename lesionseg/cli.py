"""The command line `lesionseg`: four commands, and one line for whatever goes wrong."""

import sys
import warnings
from typing import Annotated

import typer

from lesionseg import __version__, terminal
from lesionseg.commands.download import download
from lesionseg.commands.evaluate import evaluate
from lesionseg.commands.segment import segment
from lesionseg.commands.train import train
from lesionseg.errors import LesionsegError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(download)
app.command()(train)
app.command("eval")(evaluate)
app.command()(segment)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lesionseg {__version__}")
        raise typer.Exit


@app.callback()
def lesionseg(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Learns and draws the outline of skin lesions in dermoscopic photos.

    Research use; not a medical device.
    """


def main() -> None:
    """Runs the command line; one line on standard error for whatever a user can put right."""
    warnings.filterwarnings("ignore", module="PIL")  # a damaged photo is told of by its error
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong usage
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "lesionseg"
        if message := error.format_message().rstrip("."):  # none where help was shown instead
            terminal.note(f"{command}: {message}; see '{command} --help'")
        status = error.exit_code
    except LesionsegError as error:
        terminal.note(f"error: {error}")
        status = 1
    except typer.Abort:
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
