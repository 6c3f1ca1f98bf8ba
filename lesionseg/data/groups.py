"""Groups of photos that belong together, such as those of one lesion or of one patient."""

import csv
from collections.abc import Mapping
from pathlib import Path

from lesionseg.data.filenames import file_id, fold
from lesionseg.errors import LesionsegError, fault_of_text
from lesionseg.images import filetypes

FILE = "groups.csv"  # found in a set's folder
_ID_COLUMNS = ("id", "image_id", "image", "isic_id")
_GROUP_COLUMNS = ("group", "lesion", "lesion_id", "patient", "patient_id")

Groups = Mapping[str, str]  # id of a photo, in lower case -> its group
_Node = tuple[str, str]  # a column and a value in it; "" and the id of a photo


def read_groups(path: Path) -> dict[str, str]:
    """Read which photos belong together.

    Photos with the same lesion or the same patient are of one group, and so are those that are
    linked through others. A photo without either is left out.

    Args:
        path: a CSV file with a header: a column `id` (or image_id, image, isic_id), and one or more
            of lesion, patient, group (or lesion_id, patient_id).

    Raises:
        LesionsegError: it cannot be read, or has other columns.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        header = lines[0] if lines else ""
        rows = iter([*csv.reader(lines, delimiter=max(",;\t", key=header.count))])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LesionsegError(f"{path}: cannot read these groups: {fault_of_text(error)}") from error
    names = [name.strip().lower() for name in next(rows, [])]
    id_column = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
    columns = [(name, index) for index, name in enumerate(names) if name in _GROUP_COLUMNS]
    if id_column is None or not columns:
        raise LesionsegError(
            f"{path}: expected a header with id and lesion, patient or group, got {header[:80]!r}"
        )
    photos: dict[str, _Node] = {}
    parents: dict[_Node, _Node] = {}  # of trees of what is linked (union-find)
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * (len(names) - len(row))
        key = _key(cells[id_column])
        values = [(name, cells[index]) for name, index in columns if cells[index]]
        if not key or not values:
            continue
        photo = photos.setdefault(key, ("", key))
        for value in values:
            parents[_root(value, parents)] = _root(photo, parents)
    first: dict[_Node, str] = {}  # photo of each group
    for key in sorted(photos):
        first.setdefault(_root(photos[key], parents), key)
    return {key: first[_root(photo, parents)] for key, photo in photos.items()}


def _root(node: _Node, parents: dict[_Node, _Node]) -> _Node:
    """Return the root of a node's tree, which is new where the node is; shorten the way to it."""
    while (parent := parents.setdefault(node, node)) != node:
        parents[node] = node = parents[parent]
    return node


def _key(text: str) -> str:
    path = Path(text)
    return file_id(path) if path.suffix.lower() in filetypes.SUFFIXES else fold(text)
