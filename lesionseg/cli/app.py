"""The command line `lesionseg`: its commands, and one line for whatever goes wrong."""

import io
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
_NO_TORCH = (
    "this needs torch, which is not installed: pip install torch; without it 'segment' and 'eval' "
    "run exported networks on the CPU, such as --checkpoint bundled"
)
_EVERY = (*COMMANDS, "help")


def application(names: Iterable[str] = _EVERY) -> typer.Typer:
    """Return the app with these commands; the module of no other is imported."""
    app = typer.Typer(
        cls=help.Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=help.page(lesionseg), epilog=help.DOCS)(lesionseg)
    for name in names:
        if name == "help":
            command: Callable[..., None] = help_of
        else:
            module, function = COMMANDS[name]
            command = getattr(import_module(f"lesionseg.cli.{module}"), function)
        app.command(name, help=help.page(command), epilog=help.DOCS, cls=help.Command)(command)
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
    """Segment skin lesions in dermoscopic images: train a U-Net, score it, outline lesions.

    Examples:
        lesionseg segment photo.jpg -o mask.png
        lesionseg download && lesionseg train --epochs 5 && lesionseg eval

    'lesionseg COMMAND --help' shows examples and every option of a command.
    """


def help_of(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[COMMAND]", show_default=False, help="Which command.")
    ] = None,
) -> None:
    """Show the help of a command.

    Examples:
        lesionseg help train
    """
    group = context.parent
    if group is None or name is None:
        print((group or context).get_help())
        return
    commands: dict[str, Any] = getattr(group.command, "commands")  # noqa: B009
    if name not in commands:
        raise typer.BadParameter(f"no command {name!r}; there are: {', '.join(commands)}")
    print(commands[name].get_help(typer.Context(commands[name], info_name=name, parent=group)))


def main() -> NoReturn:
    """Runs the command line; one line on standard error for whatever a user can put right."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no UTF-8
    for module in ("PIL", "pydicom", "highdicom"):  # a damaged photo is reported by its error
        warnings.filterwarnings("ignore", module=module)
    console.show_notes()
    try:
        first = sys.argv[1:2]
        names = first if first and first[0] in COMMANDS else _EVERY
        status = application(names)(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be told of
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
        console.error(describe(error))
        status = 1
    except KeyboardInterrupt:  # while a command is imported; later Typer answers
        status = signals.STATUS
    if status == signals.STATUS:  # by Ctrl-C
        console.warn(signals.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
