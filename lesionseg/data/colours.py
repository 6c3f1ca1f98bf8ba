"""Coloured masks, as CVAT and VOC have them: which of their colours are the lesion."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lesionseg.errors import LesionsegError, PhotoError, counted, fault_of_text
from lesionseg.images.masks import GREY_WITHIN, is_grey, mask_colours

LABEL_MAP = "labelmap.txt"
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})")
_ENTRY = re.compile(r"([^#:][^:]*):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::|$)")
_SAMPLE = 8  # masks that are looked at for colours
_SHOWN = 8  # colours of a message
_OPTIONS = "--lesion-colour '#RRGGBB'"


class ColourChoice(NamedTuple):
    """The colours of the lesion, such as "#fa3253", and the labels whose colours a file says."""

    colours: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def parse_colour(text: str) -> str:
    """Read a colour such as "#FA3253" or "fa3253".

    Raises:
        LesionsegError: it is not of this form.
    """
    match = _COLOUR.fullmatch(text.strip())
    if match is None:
        raise LesionsegError(f"colour: expected #RRGGBB, such as '#fa3253', got {text!r}")
    return f"#{match[1].lower()}"


def read_label_map(path: Path) -> dict[str, str]:
    """Read the colour of each label from a file of lines `label:red,green,blue:parts:actions`.

    Labels without a colour are left out.

    Raises:
        LesionsegError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LesionsegError(f"{path}: cannot read these labels: {fault_of_text(error)}") from error
    entries = filter(None, map(_ENTRY.match, lines))
    return {
        entry[1].strip(): "#" + bytes(min(255, int(entry[i])) for i in (2, 3, 4)).hex()
        for entry in entries
    }


def find_colours(masks: Sequence[Path], choice: ColourChoice) -> tuple[frozenset[str], list[str]]:
    """Decide which colours of masks are the lesion: none where nothing is chosen and all are plain.

    Returns:
        The colours, and a line for each chosen one that is in none of the masks.

    Raises:
        LesionsegError: the masks are coloured and nothing is chosen, a label is not known, or none
            of the chosen colours is in any mask.
    """
    if not (choice.colours or choice.labels):
        _refuse_coloured(masks)
        return frozenset(), []
    names = {colour: colour for colour in choice.colours} | _look_up(masks, choice.labels)
    missing = set(names)
    for mask in masks:
        missing -= set(_colours_of(mask))
        if not missing:
            break
    if len(missing) == len(names):
        raise LesionsegError(
            f"{', '.join(names.values())}: this colour is in none of "
            f"{counted(len(masks), 'mask')}; the first ones have {_shown(masks)}"
        )
    lines = [f"{names[colour]}: this colour is in none of the masks" for colour in sorted(missing)]
    return frozenset(names), lines


def hint(mask: Path) -> str:
    """Say what to do about a mask that cannot be read as it holds colours or labels; else ""."""
    present = _colours_of(mask)
    if not present:
        return ""
    return f"; its colours are {_shown([mask])}; choose the lesion's with {_options([mask])}"


def find_same_colours(masks: Sequence[Path], colours: frozenset[str]) -> frozenset[str]:
    """Decide how finished masks are read: by the lesion's colours in the truth, or as plain ones.

    Raises:
        LesionsegError: they are coloured, and hold none of these colours.
    """
    if colours and any(colours.intersection(_colours_of(mask)) for mask in masks):
        return colours
    if coloured := _coloured(masks):
        raise LesionsegError(
            f"{coloured[0].parent}: coloured masks, with {_shown(coloured)}; finished masks are "
            f"0/255, or have the lesion in a colour that {_OPTIONS} chooses in the truth masks"
        )
    return frozenset()


def _refuse_coloured(masks: Sequence[Path]) -> None:
    """Raise LesionsegError where masks are coloured."""
    if coloured := _coloured(masks):
        raise LesionsegError(
            f"{coloured[0].parent}: coloured masks, with {_shown(coloured)}; choose the lesion's "
            f"colour with {_options(coloured)}"
        )


def _coloured(masks: Sequence[Path]) -> list[Path]:
    """Some coloured masks, all but those of one grey; none where any of the sample is plain.

    There, the others are refused one by one, when they are read.
    """
    coloured = []
    for mask in masks[:: max(1, len(masks) // _SAMPLE)][:_SAMPLE]:
        try:
            colours = () if is_grey(mask) else mask_colours(mask)
        except PhotoError:
            continue  # which is said where it is read
        if not all(map(_is_grey, colours)):
            coloured.append(mask)
        elif len(colours) != 1:
            return []
    return coloured


def _options(masks: Sequence[Path]) -> str:
    return _OPTIONS + (" or --lesion-label NAME" if any(_label_maps(masks)) else "")


def _colours_of(mask: Path) -> tuple[str, ...]:
    try:
        return mask_colours(mask)
    except PhotoError:
        return ()  # which is said where it is read


def _is_grey(colour: str) -> bool:
    channels = bytes.fromhex(colour[1:])
    return max(channels) - min(channels) <= GREY_WITHIN


def _shown(masks: Sequence[Path]) -> str:
    """List the colours of some masks, the most frequent first, with their labels where known."""
    colours = dict.fromkeys(colour for mask in masks[:_SAMPLE] for colour in _colours_of(mask))
    if not colours:
        return "over 256 colours: save them as PNG"
    labels = {
        colour: label
        for path in _label_maps(masks)
        for label, colour in read_label_map(path).items()
    }
    names = [
        f"{colour} ({labels[colour]})" if colour in labels else colour
        for colour in list(colours)[:_SHOWN]
    ]
    more = len(colours) - _SHOWN
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _look_up(masks: Sequence[Path], labels: Collection[str]) -> dict[str, str]:
    """Look up the colours of labels, each with its name in messages."""
    if not labels:
        return {}
    entries = [
        (label, colour)
        for path in _label_maps(masks)
        for label, colour in read_label_map(path).items()
    ]
    if not entries:
        raise LesionsegError(
            f"{masks[0].parent if masks else 'these masks'}: no {LABEL_MAP} with colours beside "
            f"the masks or above them; choose the lesion's colour with {_OPTIONS}"
        )
    known = {label.casefold(): colour for label, colour in entries}
    for label in labels:
        if label.strip().casefold() not in known:
            names = ", ".join(f"{name} ({colour})" for name, colour in dict(entries).items())
            raise LesionsegError(f"{LABEL_MAP}: no label {label!r} with a colour; it has: {names}")
    chosen = {label.strip().casefold(): label for label in labels}
    colours = {known[key]: f"{label} ({known[key]})" for key, label in chosen.items()}
    for label, colour in entries:
        if (label.casefold() in chosen) != (colour in colours):
            raise LesionsegError(
                f"{LABEL_MAP}: {label} is {colour}, which contradicts "
                f"{', '.join(colours.values())} in this file or another folder's; choose the "
                f"lesion's colour with {_OPTIONS}"
            )
    return colours


def _label_maps(masks: Iterable[Path]) -> Iterator[Path]:
    """Find the label maps beside masks, or one or two folders above them."""
    folders = dict.fromkeys(mask.absolute().parent for mask in masks)
    places = dict.fromkeys(
        place for folder in folders for place in (folder, folder.parent, folder.parent.parent)
    )
    return (place / LABEL_MAP for place in places if (place / LABEL_MAP).is_file())
