"""Paths as a report shows them: no more of a file or a command than a reader needs."""

import re
import shlex
from pathlib import Path

from lesionseg import store
from lesionseg.evaluation.report import CheckpointInfo, EarlierCheckpoint, Evaluation

_ELSEWHERE = re.compile(r"(?<!\S)/\S+/(?=[^/\s]+/[^/\s]+)")  # all but the last two parts
_TO_QUOTE = re.compile(r"[\s'\"\\$`;&|()]")


def shorten(text: str, evaluation: Evaluation) -> str:
    """Make the paths in a text relative to the data's folder, the current one, the cache or home.

    Of a path elsewhere the last two parts stay, unless it has spaces.
    """
    data = evaluation.data.folder
    prefixes = (
        (Path(data) if data else None, ""),
        (Path.cwd(), ""),
        (store.cache_dir(), "<cache>/"),
        (store.path("~"), "~/"),
    )
    for folder, prefix in prefixes:
        if folder is not None and folder.is_absolute() and folder != folder.parent:
            text = re.sub(f"{re.escape(str(folder))}[/\\\\]", prefix, text)
    return _ELSEWHERE.sub("…/", text)


def short_path(path: str, evaluation: Evaluation) -> str:
    """Shorten one path, which may have spaces; of one elsewhere the last two parts stay."""
    short = Path(shorten(path, evaluation))
    return Path("…", *short.parts[-2:]).as_posix() if short.is_absolute() else str(short)


def checkpoint_file(evaluation: Evaluation) -> str:
    """Return what the network was loaded from; "" without a network, or where it is withheld."""
    if evaluation.checkpoint is None:
        return ""
    if evaluation.checkpoint.file is None and evaluation.name in store.BUNDLED_FILES:
        return _bundled(evaluation.name)  # names are withheld, this one is public
    file, members = evaluation.checkpoint.file, evaluation.checkpoint.mean_of
    files = [file] if file else [member.file for member in members if member.file]
    names = ((store.bundled_name(Path(file)), file) for file in files)
    return " + ".join(
        _bundled(name) if name else short_path(file, evaluation) for name, file in names
    )


def _bundled(name: str) -> str:
    kind = "" if name == store.BUNDLED else f" as {name}"
    return f"the weights bundled with lesionseg{kind}"


def earlier_checkpoints(checkpoint: CheckpointInfo, evaluation: Evaluation) -> str:
    """Return what a network started from and was taught by, as `; started from ...`; else ""."""

    def name(earlier: EarlierCheckpoint) -> str:
        file = earlier.file and short_path(earlier.file, evaluation)
        # The bundled network lists the photos of its teachers as its own, and theirs as none.
        photos = f"{earlier.training_photos} photos of " if earlier.training_photos else ""
        return f"{file or 'a checkpoint'} (trained on {photos}{earlier.trained_on})"

    parts = [f"; started from {name(checkpoint.parent)}"] if checkpoint.parent else []
    if checkpoint.teachers:
        parts.append(f"; taught by {', '.join(map(name, checkpoint.teachers))}")
    return "".join(parts)


def short_command(evaluation: Evaluation) -> str:
    """Return the command with short paths, and quotes only where a reader needs them."""
    try:
        words = shlex.split(evaluation.command)
    except ValueError:  # not typed in a shell
        return shorten(evaluation.command, evaluation)
    short_words = []
    for word in words:
        option, mark, value = word.partition("=") if word.startswith("--") else ("", "", word)
        short = f"{option}{mark}{short_path(value, evaluation) if '/' in value else value}"
        short_words.append(shlex.quote(short) if _TO_QUOTE.search(short) else short)
    return " ".join(short_words)
