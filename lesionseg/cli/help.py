"""What all commands share: the look of `--help`, and what no command line may hold."""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup

from lesionseg.errors import UsageError

INPUT, OUTPUT, NETWORK = "Input", "Output", "Network"
TRAINING, LABELS, MACHINE = "Training", "Labels and measurements", "Machine"
DOCS = (
    "Docs: README.md, MODEL_CARD.md and docs/ in the source tree; man lesionseg. "
    "Research use only; not a medical device."
)
_PLAIN = {"<bool>": "", "<int>": "N", "<int range>": "N", "<float>": "X", "<float range>": "X"}


def _plain(params: list[Any], context: Any) -> list[Any]:
    """Replace the Python types of parameters with metavars for a reader."""
    for param in params:
        shown = param.display_type_rich(context) or ""
        plain = _PLAIN.get(shown, shown.strip("<>"))
        if param.param_type_name == "argument":
            plain = ""  # its name says it
        # Not `metavar`, which would also replace an argument's name.
        param.display_type_rich = lambda ctx, plain=plain: plain
    return params


class Command(TyperCommand):
    """A command whose page names no Python types; no value is lost or empty without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command; refuse repeated single values and empty ones.

        Raises:
            BadParameter: an option that takes one value is given twice, under whatever name, or a
                value is empty, as that of an unset shell variable is.
        """
        values, _, params = self.make_parser(ctx).parse_args(args=list(args))
        if any(param.name == "help" for param in params):
            return super().parse_args(ctx, args)
        for param, count in Counter[Any](params).items():
            is_option = param.param_type_name == "option"
            name = "/".join(param.opts) if is_option else param.metavar or param.name
            value = values.get(param.name)
            if value == "" or (isinstance(value, list | tuple) and "" in value):
                raise BadParameter(f"{name}: the value is empty; give one, or leave it out", ctx)
            if count > 1 and not (param.multiple or param.is_flag):
                raise BadParameter(f"{name} was given {count} times; give it once", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a usage error of the library is one of the command line."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise BadParameter(str(error), ctx) from error

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters as the page shows them."""
        params = _plain(super().get_params(ctx), ctx)
        params[-1].rich_help_panel = MACHINE  # --help, which Typer adds
        return params


class Group(TyperGroup):
    """The commands together; their page names no Python types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters as the page shows them."""
        return _plain(super().get_params(ctx), ctx)


def paragraphs(command: Callable[..., Any]) -> list[str]:
    """Return a docstring's paragraphs, the summary first, each on one line but the examples."""
    text = inspect.getdoc(command) or ""
    return [
        paragraph if paragraph.startswith("Examples:") else " ".join(paragraph.split())
        for paragraph in text.split("\n\n")
    ]


def page(command: Callable[..., Any]) -> str:
    """Return a command's docstring as Typer shows it: line breaks and brackets of examples kept."""
    return "\n\n".join(paragraphs(command)).replace("[", r"\[")
