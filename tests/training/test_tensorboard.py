"""TensorBoard event files, read back record by record."""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionseg import images
from lesionseg.errors import LesionsegError
from lesionseg.training.tensorboard import TensorBoardWriter

pytest.importorskip("tensorboardX")


FIRST, SECOND = (
    images.mask_png(np.zeros((height, width), bool)) for height, width in ((2, 3), (5, 4))
)


def history(epochs: int) -> list[dict[str, float]]:
    return [{"epoch": epoch, "dice": epoch / 8} for epoch in range(1, epochs + 1)]


def records(file: Path) -> list[Any]:
    """The events of a file: length, its checksum, the event, its checksum (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]

    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return found


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of all that the event files of a folder hold."""
    return sorted(
        (event.step, value.tag, value.simple_value)
        for file in folder.glob("events.out.tfevents.*")
        for event in records(file)
        for value in event.summary.value
        if value.HasField("simple_value")
    )


def test_scores_and_pictures_are_in_it_at_once(tmp_path: Path) -> None:
    with TensorBoardWriter() as events:
        events.write(tmp_path, history(1), FIRST)
        assert scalars(tmp_path) == [(1, "dice", 0.125)]
        events.write(tmp_path, history(2), SECOND)
    (file,) = tmp_path.iterdir()
    first, *rest = records(file)
    assert first.file_version == "brain.Event:2"
    assert scalars(tmp_path) == [(1, "dice", 0.125), (2, "dice", 0.25)]
    strips = [
        (event.step, value.image.width, value.image.height, value.image.encoded_image_string)
        for event in rest
        for value in event.summary.value
        if value.HasField("image")
    ]
    assert strips == [(1, 3, 2, FIRST), (2, 4, 5, SECOND)]


def test_a_resumed_run_goes_on_with_the_steps(tmp_path: Path) -> None:
    for epochs in (1, 2):  # within the same second
        with TensorBoardWriter() as events:
            events.write(tmp_path, history(epochs), FIRST)
    assert len(list(tmp_path.iterdir())) == 2
    assert [step for step, *_ in scalars(tmp_path)] == [1, 2]


def test_epochs_from_before_come_first(tmp_path: Path) -> None:
    with TensorBoardWriter() as events:
        events.write(tmp_path, history(3), FIRST)
    assert [step for step, *_ in scalars(tmp_path)] == [1, 2, 3]


def test_a_full_disk_is_told_and_got_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboardX import event_file_writer  # type: ignore[import-untyped]

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with TensorBoardWriter() as events:
        events.write(tmp_path, history(1), FIRST)
        with monkeypatch.context() as patch:
            patch.setattr(event_file_writer.RecordWriter, "write", full)
            with pytest.raises(OSError, match="No space left"):
                events.write(tmp_path, history(2), FIRST)
        events.write(tmp_path, history(3), FIRST)
    assert [step for step, *_ in scalars(tmp_path)] == [1, 3]


def test_without_the_extra_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LesionsegError, match=r"pip install '\.\[tensorboard\]'\)$"):
        TensorBoardWriter()
