"""Manual pages, written from the same source as `--help`: one a command, in roff."""

from typing import Any

from typer.main import get_command

from lesionseg.cli import app, help
from lesionseg.version import __version__


def pages() -> dict[str, str]:
    """Return the text of each manual page, by file name: `lesionseg.1`, `lesionseg-train.1`, ..."""
    group: Any = get_command(app.application())
    texts = {"lesionseg.1": _page("lesionseg", group)}
    for name, command in group.commands.items():
        texts[f"lesionseg-{name}.1"] = _page(f"lesionseg-{name}", command)
    return texts


def _page(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    summary, *text = help.paragraphs(command.callback)
    lines = [
        f'.TH {_roff(name.upper())} 1 "" "lesionseg {__version__}"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(summary)}",
        ".SH SYNOPSIS",
        _roff(f"{name.replace('-', ' ', 1)} {' '.join(command.collect_usage_pieces(context))}"),
        ".SH DESCRIPTION",
    ]
    examples: list[str] = []
    for paragraph in text:
        if paragraph.startswith("Examples:"):
            examples = [".SH EXAMPLES", ".nf", *map(_roff, paragraph.splitlines()[1:]), ".fi"]
        else:
            lines += [".PP", _roff(paragraph)]
    lines += examples
    panels: dict[str, list[str]] = {}
    for param in command.get_params(context):
        if getattr(param, "hidden", False):
            continue
        names = ", ".join((*param.opts, *param.secondary_opts))
        if param.param_type_name == "argument":
            names = param.display_name_raw
        shown = f"{names} {param.display_type_rich(context) or ''}".strip()
        kind = "Arguments" if param.param_type_name == "argument" else "Options"
        panel = getattr(param, "rich_help_panel", None) or kind
        panels.setdefault(panel, []).extend([".TP", _roff(shown), _roff(_about(param, context))])
    for panel, entries in panels.items():
        lines += [f".SH {_roff(panel.upper())}", *entries]
    for sub, inner in getattr(command, "commands", {}).items():
        lines += [".SH COMMANDS"] if ".SH COMMANDS" not in lines else []
        lines += [".TP", _roff(f"lesionseg-{sub}(1)"), _roff(help.paragraphs(inner.callback)[0])]
    return "\n".join([*lines, ".SH SEE ALSO", _roff(help.DOCS)]) + "\n"


def _about(param: Any, context: Any) -> str:
    """Return what the page of `--help` says of a parameter, its default included."""
    default = param.default
    shown = default is not None and getattr(param, "show_default", False) and default is not False
    return f"{param.help or ''} {f'Default: {default}.' if shown else ''}".strip()


def _roff(text: str) -> str:
    """Escape what roff would take for a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
