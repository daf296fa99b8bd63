"""The points in a mirror's files, read as the tools themselves read them."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

Found = dict[str, dict[str, list[tuple[int, float]]]]
"""Run → tag → (step, value) in the order of the files."""


def read_tensorboard(folder: Path) -> Found:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: Found = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.glob("*/events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found[file.parent.name][value.tag].append((event.step, value.simple_value))
    return found


def read_wandb(folder: Path) -> Found:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Found = defaultdict(lambda: defaultdict(list))
    # A folder that a killed call left isn't among those that are uploaded.
    for file in sorted(folder.glob("*/[0-9]*/offline-run-*/*.wandb")):
        for data in wandb_records(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }  # fmt: skip
            for key, value in items.items():
                if key.startswith("train/"):
                    found[file.parents[2].name][key].append((record.history.step.num, value))
    return found


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file, which is a LevelDB log behind a header of 7 bytes."""
    block, head = 32768, struct.Struct("<IHB")
    assert data[:4] == b":W&B"
    place, parts = 7, b""
    while place + head.size <= len(data):
        if block - place % block < head.size:
            place += block - place % block
            continue
        _, length, kind = head.unpack_from(data, place)
        parts += data[place + head.size : place + head.size + length]
        place += head.size + length
        if kind in (1, 4):
            yield parts
            parts = b""


def read_mlflow(folder: Path) -> Found:
    found: Found = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.glob("*/*/metrics/train/*")):
        run = (file.parents[2] / "tags" / "rsctl.run").read_text()
        for line in file.read_text().splitlines():
            _, value, step = line.split()[:3]
            found[run][f"train/{file.name}"].append((int(step), float(value)))
    return found


READERS = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}
