"""Run lengths of masks as COCO and CVAT write them: of background first, then alternating.

COCO runs down the columns of the whole photo and may pack the lengths into text; CVAT runs along
the rows of a box. Both give every pixel back.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lesionseg.images.arrays import Mask
from lesionseg.labels.faults import LabelError


class Box(NamedTuple):
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int


class Runs(NamedTuple):
    """The runs of a mask within a box, of background first, down the columns or along the rows."""

    box: Box
    lengths: NDArray[np.int64]
    by_column: bool

    def fill(self, mask: Mask) -> None:
        """Set the lesion's pixels of a mask (H, W) bool that the box lies in."""
        left, top, width, height = self.box
        lesion = np.arange(len(self.lengths)) % 2 == 1
        pixels = np.repeat(lesion, self.lengths)
        shaped = pixels.reshape(width, height).T if self.by_column else pixels.reshape(height, -1)
        mask[top : top + height, left : left + width] |= shaped


def fill_all(mask: Mask, shapes: Iterable[Runs]) -> None:
    """Set the lesion's pixels of a mask (H, W) bool that any of some shapes covers.

    Many within one box, as COCO's of a photo, take the time of their runs and of one box.
    """
    groups: dict[tuple[Box, bool], list[Runs]] = {}
    for runs in shapes:
        groups.setdefault((runs.box, runs.by_column), []).append(runs)
    for (box, by_column), (first, *others) in groups.items():
        if not others:
            first.fill(mask)
            continue
        changes = np.zeros(box.width * box.height + 1, np.int32)
        for runs in (first, *others):
            ends = np.cumsum(runs.lengths)
            np.add.at(changes, ends[: len(ends) // 2 * 2 : 2], np.int32(1))
            np.subtract.at(changes, ends[1::2], np.int32(1))
        covered = np.cumsum(changes, out=changes)[:-1] > 0
        lengths = encode(covered[np.newaxis], by_column=False)
        Runs(box, lengths, by_column).fill(mask)


def encode(mask: Mask, *, by_column: bool) -> NDArray[np.int64]:
    """Return the run lengths of a mask (H, W) bool, of background first, which may be 0."""
    whole = np.ascontiguousarray(mask).view(np.uint8)
    pixels = (cv2.transpose(whole) if by_column else whole).ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=pixels.size)
    return np.insert(lengths, 0, 0) if pixels[:1].any() else lengths


def pack(lengths: NDArray[np.int64]) -> str:
    """Write lengths as COCO's text (`rleToString` of its maskApi.c).

    From the fourth on, a length is its difference to the last but one; a character holds five bits
    of a number, the lowest first, and a sixth that says whether more follow, plus 48.
    """
    numbers = lengths.copy()
    numbers[3:] -= lengths[1:-2]
    text = bytearray()
    for number in numbers.tolist():
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text.append((bits | more << 5) + 48)
            if not more:
                break
    return text.decode("ascii")


def unpack(text: str) -> NDArray[np.int64]:
    """Read the lengths in COCO's text.

    Raises:
        LabelError: not such a text.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise LabelError("not packed run lengths")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number = shift = 0
    if shift:
        raise LabelError("truncated packed run lengths")
    return np.array(lengths, np.int64)


def parse(counts: object) -> NDArray[np.int64]:
    """Read the lengths of COCO, as text or as a list of integers.

    Raises:
        LabelError: neither, or a number that is no length.
    """
    if isinstance(counts, str):
        return unpack(counts)
    if not isinstance(counts, list) or not all(type(length) is int for length in counts):
        raise LabelError("expected run lengths as text or a list of integers")
    return np.array(counts, np.int64)


def check(box: Box, lengths: NDArray[np.int64], *, by_column: bool) -> Runs:
    """Return the runs of a mask within a box.

    Raises:
        LabelError: they do not fill the box.
    """
    pixels = box.width * box.height
    if (lengths < 0).any() or (lengths > pixels).any() or int(lengths.sum()) != pixels:
        raise LabelError(f"expected run lengths of {pixels} pixels in all")
    return Runs(box, lengths, by_column)
