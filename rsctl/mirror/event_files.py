"""TensorBoard: event files, one for each batch of new points."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rsctl.mirror.points import MirroredRun, TrainingPoint
from rsctl.store.files import make_folder, publish, remove_temporaries

_NAME = re.compile(r"events\.out\.tfevents\.(\d{12})\.rsctl")
"""Name of a file by its last step; TensorBoard reads the files of a folder in this order."""


class EventFiles:
    """`<folder>/<run>/events.out.tfevents.<last step>.rsctl`, each published whole: its name is the position."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2  # noqa: F401 - raises ImportError where it is absent

        self._folder = folder

    def write(self, shown: MirroredRun) -> int:
        folder = self._folder / shown.run
        make_folder(folder)
        remove_temporaries(folder)
        matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
        last = max((int(match[1]) for match in matches if match), default=-1)
        new = [point for point in shown.points if point.step > last]
        if new:
            publish(folder / f"events.out.tfevents.{new[-1].step:012d}.rsctl", _encoded(new))
        return len(new)


def _encoded(points: list[TrainingPoint]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=points[0].time, file_version="brain.Event:2").SerializeToString())
    for point in points:
        values = [Summary.Value(tag=key, simple_value=value) for key, value in point.tagged.items()]
        event = Event(wall_time=point.time, step=point.step, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return file.getvalue()
