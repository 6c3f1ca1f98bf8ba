"""TensorBoard event files, read back record by record."""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionseg.errors import LesionsegError
from lesionseg.images.png import mask_png
from lesionseg.training.history import EpochScores
from lesionseg.training.tensorboard import TensorBoardWriter

pytest.importorskip("tensorboardX")


FIRST, SECOND = (mask_png(np.zeros((height, width), bool)) for height, width in ((2, 3), (5, 4)))


def history(epochs: int) -> list[EpochScores]:
    return [
        EpochScores(
            epoch=epoch,
            image_size=64,
            learning_rate=0.25,
            train_loss=4.0,
            val_loss=2.0,
            dice=epoch / 8,
            jaccard=epoch / 16,
            val_photos=2,
            seconds=1.0,
            photos_per_second=8.0,
        )
        for epoch in range(1, epochs + 1)
    ]


def written(epochs: int) -> list[tuple[int, str, float]]:
    """Step, name and value of all that a history holds, exact in 32 bits."""
    return sorted(
        (scores.epoch, name, value)
        for scores in history(epochs)
        for name, value in scores.row().items()
        if name != "epoch"
    )


def records(file: Path) -> list[Any]:
    """The events of a file: length, its checksum, the event, its checksum (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]

    data, contents = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        contents.append(Event.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return contents


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
        assert scalars(tmp_path) == written(1)
        events.write(tmp_path, history(2), SECOND)
    (file,) = tmp_path.iterdir()
    first, *rest = records(file)
    assert first.file_version == "brain.Event:2"
    assert scalars(tmp_path) == written(2)
    assert {(1, "dice", 0.125), (2, "dice", 0.25)} <= {*scalars(tmp_path)}
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
    assert scalars(tmp_path) == written(2)


def test_scores_alone_where_no_picture_can_be_drawn(tmp_path: Path) -> None:
    with TensorBoardWriter() as events:
        events.write(tmp_path, history(1))
    assert scalars(tmp_path) == written(1)


def test_epochs_from_before_come_first(tmp_path: Path) -> None:
    with TensorBoardWriter() as events:
        events.write(tmp_path, history(3), FIRST)
    assert scalars(tmp_path) == written(3)


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
    assert scalars(tmp_path) == [row for row in written(3) if row[0] != 2]


def test_without_the_extra_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LesionsegError, match=r"pip install '\.\[tensorboard\]'\)$"):
        TensorBoardWriter()
