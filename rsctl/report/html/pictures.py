"""Pictures of a report's images: drawn by a process of the data plane where the data is on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.modules import module_command


@dataclass(frozen=True)
class PictureSource:
    """The data set whose images are shown."""

    dataset: str
    parameters: Mapping[str, Any]
    split: str
    planned: str
    """Fingerprint of the files that a run was planned for; empty for a log, and for a data set that its name identifies."""
    plugins: Sequence[str]


def draw_pictures(source: PictureSource, root: Path, labels: Mapping[int, int]) -> tuple[dict[int, str], str]:
    """A data URI per position of `labels`, and the reason where there are none.

    Pictures whose labels differ from those of the results belong to other data: none of them is shown.
    """
    positions = sorted(labels)
    plugins = [f"--plugin={name}" for name in source.plugins]
    command = module_command(
        "jobs.thumbnails", source.dataset, source.split, "--data", str(root), "--parameters", json.dumps(dict(source.parameters)),
        f"--planned={source.planned}", *plugins,
    )  # fmt: skip
    done = subprocess.run(command, input=json.dumps(positions), capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip() or "drawing failed without a message"
        return {}, reason.splitlines()[-1]
    found = json.loads(done.stdout)
    if found["labels"] != [labels[position] for position in positions]:
        return {}, "the data on this machine has other labels than these results"
    return dict(zip(positions, found["pictures"], strict=True)), ""
