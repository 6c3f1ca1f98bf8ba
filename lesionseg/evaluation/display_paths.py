"""What a report says of its making: files and commands, with no more of a path than is needed."""

import re
import shlex
from pathlib import Path

from lesionseg import store
from lesionseg.evaluation.report import Evaluation

_ELSEWHERE = re.compile(r"(?<!\S)/\S+/(?=[^/\s]+/[^/\s]+)")  # all but the last two parts
_TO_QUOTE = re.compile(r"[\s'\"\\$`;&|()]")


def shorter(text: str, evaluation: Evaluation) -> str:
    """The text with the paths in it seen from the data's folder, the current one, the cache, home.

    Of a path that begins elsewhere the last two parts stay, unless it has spaces.
    """
    data = evaluation.data.folder
    seen_from = (
        (Path(data) if data else None, ""),
        (Path.cwd(), ""),
        (store.cache_dir(), "<cache>/"),
        (store.path("~"), "~/"),
    )
    for folder, short in seen_from:
        if folder is not None and folder.is_absolute() and folder != folder.parent:
            text = re.sub(f"{re.escape(str(folder))}[/\\\\]", short, text)
    return _ELSEWHERE.sub("…/", text)


def short_path(path: str, evaluation: Evaluation) -> str:
    """A path, of which the last two parts are enough where it begins elsewhere."""
    there = Path(shorter(path, evaluation))
    return Path("…", *there.parts[-2:]).as_posix() if there.is_absolute() else str(there)


def checkpoint_file(evaluation: Evaluation) -> str:
    """Where the network comes from; "" without one, or where the file is not told."""
    if evaluation.checkpoint is None:
        return ""
    file = evaluation.checkpoint.file or ""
    if file == str(store.BUNDLED_FILE) or evaluation.name == store.BUNDLED:
        return "the weights bundled with lesionseg"
    return short_path(file, evaluation) if file else ""


def short_command(evaluation: Evaluation) -> str:
    """The command with its paths shortened; quotes stand only where a reader needs them."""
    try:
        words = shlex.split(evaluation.command)
    except ValueError:  # typed by no shell
        return shorter(evaluation.command, evaluation)
    shown = []
    for word in words:
        option, mark, value = word.partition("=") if word.startswith("--") else ("", "", word)
        short = f"{option}{mark}{short_path(value, evaluation) if '/' in value else value}"
        shown.append(shlex.quote(short) if _TO_QUOTE.search(short) else short)
    return " ".join(shown)
