"""What is wrong with labels, in plain words."""

from json import JSONDecodeError
from xml.etree.ElementTree import ParseError

from lesionseg.errors import fault_of_text, one_line

_LONGEST = 200  # characters of a reason


class LabelError(ValueError):
    """Labels are not what was expected of them; its text says why."""


def fault_of(error: Exception) -> str:
    """Say in plain words what is wrong with labels, at most 200 characters.

    Args:
        error: any that reading them raised; the text of Python's own ones is not shown.
    """
    if isinstance(error, LabelError):
        return one_line(error)[:_LONGEST]
    if isinstance(error, KeyError):
        return f"expected {one_line(error)[:_LONGEST]}, found none"
    if isinstance(error, OSError | UnicodeDecodeError | JSONDecodeError | ParseError):
        return fault_of_text(error)
    return "expected labels as a labelling tool writes them, got other values; export them again"
