"""The command line `lesionseg`: its commands, and one line for whatever goes wrong."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from lesionseg.cli import console, help, signals
from lesionseg.errors import LesionsegError, describe
from lesionseg.version import __version__

COMMANDS = {  # name: its module, and the function in it
    "segment": ("segment", "segment"),
    "train": ("train", "train"),
    "eval": ("evaluate", "evaluate"),
    "download": ("download", "download"),
    "check": ("check", "check"),
    "export": ("export", "export"),
    "page": ("page", "page"),
}
SUMMARIES = {  # first lines of docstrings: a command that is listed alone need not be imported
    "segment": "Outline the lesion in photos: one mask PNG each, 0 and 255, at the photo's size.",
    "train": "Train a U-Net on photos and masks, and print the path of the best checkpoint.",
    "eval": (
        "Score checkpoints or folders of masks against ground truth, by the ISIC challenge's rules."
    ),
    "download": "Download a data set of photos and masks, or generate the synthetic demo set.",
    "check": (
        "Check photos and masks before training: what is read, what is left out, what looks wrong."
    ),
    "export": "Export a network as ONNX, for other programs and for a faster start of 'segment'.",
    "page": (
        "Write a web page that outlines lesions on a phone, without a server or the internet."
    ),
}
_NO_TORCH = (
    "this needs torch, which is not installed: pip install torch; without it 'segment' and 'eval' "
    "run exported networks on the CPU, such as --checkpoint bundled"
)
_EVERY = (*COMMANDS, "help")
_COMPLETION = "_LESIONSEG_COMPLETE"  # set where a shell asks what could be typed next


def application(names: Iterable[str] = _EVERY) -> typer.Typer:
    """Return the app with these commands; of all others, it knows the summary alone."""
    app = typer.Typer(
        cls=help.Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=help.page(lesionseg), epilog=help.DOCS)(lesionseg)
    imported = set(names) | (COMMANDS.keys() - SUMMARIES.keys())
    for name in _EVERY:
        if name == "help":
            command: Callable[..., None] = help_of
        elif name in imported:
            module, function = COMMANDS[name]
            command = getattr(import_module(f"lesionseg.cli.{module}"), function)
        else:
            app.command(name, help=SUMMARIES[name])(_listed)
            continue
        app.command(name, help=help.page(command), epilog=help.DOCS, cls=help.Command)(command)
    return app


def _listed() -> None:
    """Stand in for a command that is not run."""


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
    """Segment skin lesions in dermoscopic images: train a U-Net, score it, outline lesions.

    Examples:
        lesionseg segment photo.jpg -o mask.png
        lesionseg download && lesionseg train --epochs 5 && lesionseg eval

    'lesionseg COMMAND --help' shows examples and every option of a command.
    """


def help_of(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            show_default=False,
            help=("The command; without one, all commands are listed."),
        ),
    ] = None,
) -> None:
    """Show the help of a command.

    Examples:
        lesionseg help train

    The same as 'lesionseg COMMAND --help'.
    """
    group = context.parent
    if group is None or name is None:
        print((group or context).get_help())
        return
    commands: dict[str, Any] = getattr(group.command, "commands")  # noqa: B009
    if name not in commands:
        raise typer.BadParameter(f"no command {name!r}; expected one of {', '.join(commands)}")
    print(commands[name].get_help(typer.Context(commands[name], info_name=name, parent=group)))


def main() -> NoReturn:
    """Run the command line; report whatever a user can put right in one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no UTF-8
    for module in ("PIL", "pydicom", "highdicom"):  # a damaged photo is reported by its error
        warnings.filterwarnings("ignore", module=module)
    console.show_notes()
    try:
        names = _EVERY if _COMPLETION in os.environ else COMMANDS.keys() & set(sys.argv[1:])
        status = application(names)(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be reported
    except typer.TyperException as error:  # wrong usage
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "lesionseg"
        if (
            message := error.format_message().replace("Value error, ", "").rstrip(".")
        ):  # none where help was shown instead
            console.warn(f"{command}: {message}; see '{command} --help'", every_process=True)
        status = error.exit_code
    except LesionsegError as error:
        console.error(str(error))
        status = 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch":
            raise
        console.error(_NO_TORCH)
        status = 1
    except OSError as error:  # a name too long, a folder that may not be entered, a full disk
        from lesionseg.store import cache_advice

        console.error(describe(error) + (cache_advice(error.filename) if error.filename else ""))
        status = 1
    except KeyboardInterrupt:  # while a command is imported; later Typer answers
        status = signals.STATUS
    if status == signals.STATUS:  # by Ctrl-C
        console.warn(signals.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
