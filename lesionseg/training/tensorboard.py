"""Scores and figures as TensorBoard event files, for those who have it running.

tensorboardX brings the format (90 kB and protobuf; the extra `tensorboard` installs it). Its
`SummaryWriter` is not used: it writes from a thread, which dies when the disk is full, and the
training would then wait for it for ever.
"""

import importlib.util
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lesionseg.errors import LesionsegError
from lesionseg.extras import install_hint
from lesionseg.training.history import History


class TensorBoardWriter:
    """Write event files into a run's folder, a new one each time that the run is resumed.

    To be closed by `with`.

    Raises:
        LesionsegError: the extra is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("tensorboardX") is None:
            raise LesionsegError(
                f"TensorBoard files need another package: {install_hint('tensorboard')}"
            )
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self._writer = None

    def write(self, folder: Path, history: History, strip: bytes | None = None) -> None:
        """Add the last epoch's scores and its strip of photos, a PNG, to the file in `folder`.

        A step is an epoch. Where there is no event file yet, the scores of the epochs before come
        first.

        Raises:
            OSError: the file cannot be written.
        """
        from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped]
        from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        def add(epoch: int, *values: Any) -> None:
            summary = Summary(value=values)
            self._writer.write_event(Event(wall_time=time.time(), step=epoch, summary=summary))

        try:
            new = history[-1:] if any(folder.glob("events.out.*")) else history
            if self._writer is None:
                # Named by the second that it was made in, and so by something of its own, too.
                self._writer = EventsWriter(str(folder / "events"), f".{len(history)}")
            for scores in new:
                add(
                    scores.epoch,
                    *(
                        Summary.Value(tag=name, simple_value=value)
                        for name, value in scores.row().items()
                        if name != "epoch"
                    ),
                )
            if strip is not None:
                width, height = struct.unpack(">II", strip[16:24])  # where every PNG has them
                image = Summary.Image(encoded_image_string=strip, width=width, height=height)
                add(len(history), Summary.Value(tag="samples", image=image))
            self._writer.flush()
        except OSError:
            self._close()  # a part of a record may be at its end: the next one goes elsewhere
            raise
