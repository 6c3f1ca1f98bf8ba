"""How the pages of `--help` look: plain types, panels by purpose, and where the docs are."""

import inspect
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand, TyperGroup

INPUT, OUTPUT, NETWORK = "Input", "Output", "Network"
TRAINING, LABELS, MACHINE = "Training", "Labels and measurements", "Machine"
DOCS = (
    "Docs: README.md, MODEL_CARD.md and docs/ in the source tree; man lesionseg. "
    "Research use only; not a medical device."
)
_PLAIN = {"<bool>": "", "<int>": "N", "<int range>": "N", "<float>": "X", "<float range>": "X"}


def _plain(params: list[Any], context: Any) -> list[Any]:
    """Give the parameters metavars that a user reads, in place of Python's types."""
    for param in params:
        shown = param.display_type_rich(context) or ""
        plain = _PLAIN.get(shown, shown.strip("<>"))
        if param.param_type_name == "argument":
            plain = ""  # its name says it
        # Not `metavar`, which would also replace an argument's name.
        param.display_type_rich = lambda ctx, plain=plain: plain
    return params


class Command(TyperCommand):
    """A command whose page names no Python types."""

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
