"""The command line `lesionseg`: its commands, and one line for whatever goes wrong."""

import inspect
import io
import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from lesionseg.cli import console
from lesionseg.errors import LesionsegError, one_line
from lesionseg.version import __version__

COMMANDS = {  # name: room, and the function in it
    "download": ("download", "download"),
    "train": ("train", "train"),
    "eval": ("evaluate", "evaluate"),
    "segment": ("segment", "segment"),
    "export": ("export", "export"),
}


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The app with these commands; no room of another is imported."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lesionseg)
    for name in names:
        room, function = COMMANDS[name]
        command = getattr(import_module(f"lesionseg.cli.{room}"), function)
        paragraphs = (inspect.getdoc(command) or "").split("\n\n")
        # Typer would keep the line breaks of the source
        app.command(name, help="\n\n".join(" ".join(each.split()) for each in paragraphs))(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lesionseg {__version__}")
        raise typer.Exit


def lesionseg(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Learns and draws the outline of skin lesions in dermoscopic photos.

    Research use; not a medical device.
    """


def main() -> NoReturn:
    """Runs the command line; one line on standard error for whatever a user can put right."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no UTF-8
    for module in ("PIL", "pydicom", "highdicom"):  # a damaged photo is reported by its error
        warnings.filterwarnings("ignore", module=module)
    try:
        named = sys.argv[1:2]
        names = named if named and named[0] in COMMANDS else COMMANDS
        status = application(names)(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be told of
    except typer.TyperException as error:  # wrong usage
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "lesionseg"
        if (
            message := error.format_message().replace("Value error, ", "").rstrip(".")
        ):  # none where help was shown instead
            console.log(f"{command}: {message}; see '{command} --help'", every_process=True)
        status = error.exit_code
    except LesionsegError as error:
        console.error(str(error))
        status = 1
    except OSError as error:  # a name too long, a folder that may not be entered, a full disk
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or one_line(error)}")
        status = 1
    except KeyboardInterrupt:  # while a command is imported; later Typer answers
        status = 130
    if status == 130:  # by Ctrl-C
        console.log("interrupted; the same command, typed again, begins again or goes on")
    sys.exit(status if isinstance(status, int) else 0)
