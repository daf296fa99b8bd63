"""FLOPs and memory of networks: FLOPs scale a measured speed to another shape."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsctl.catalog import known_datasets, known_models
from rsctl.config.identity import content_hash, identity
from rsctl.modules import module_command
from rsctl.store.fields import FORWARD
from rsctl.store.files import replace, to_json
from rsctl.store.records import read_or_skip

REVISION = 1
"""Version of the measurements by `jobs.forward`."""


@dataclass(frozen=True)
class NetworkShape:
    """An architecture on images of one shape, which determines the speed of all work."""

    model: str
    parameters: str
    """Parameters of the architecture, as JSON."""
    dataset: str
    size: int
    """Image size in pixels; 0 if the data set has only one."""

    def __str__(self) -> str:
        values = ", ".join(f"{key}={value}" for key, value in json.loads(self.parameters).items())
        return f"{self.model}{f'({values})' if values else ''} {self.dataset}{f' {self.size} px' if self.size else ''}"


def network(
    model: str, parameters: Mapping[str, Any], dataset: str, dataset_parameters: Mapping[str, Any]
) -> NetworkShape:
    """Return the network of a run from its spec."""
    size = int(dataset_parameters.get("size", 0))
    return NetworkShape(model, json.dumps(dict(parameters), sort_keys=True), dataset, size)


def with_defaults(model: str) -> dict[str, Any]:
    """Fill in an architecture's default parameters, as a spec has them."""
    declared = known_models().get(model)
    return identity(declared.parameters()) if declared else {}


@dataclass(frozen=True)
class Footprint:
    """FLOPs and bytes of one image in a network, and the bytes of its weights."""

    flops: float
    weights: float
    training_fp32: float
    """Activations kept for the backward pass, and its own at their peak."""
    training_bf16: float
    sampling_fp32: float
    """Peak of the activations in a forward pass without gradients."""
    sampling_bf16: float

    def of(self, work: str, precision: str) -> float:
        """Return bytes per image in `training` or `sampling`; TF32 is stored as float32."""
        return float(getattr(self, f"{work}_{'bf16' if precision == 'bf16' else 'fp32'}"))


def footprints(networks: set[NetworkShape], *, only_known: bool = False) -> dict[NetworkShape, Footprint]:
    """Return the footprints of networks that can be built; torch measures them once in a separate process, then the user's cache keeps them.

    With `only_known` nothing is measured.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsctl" / "networks"
    files = {one: base / f"{content_hash({**asdict(one), 'revision': REVISION})}.json" for one in networks}
    read = {one: read_or_skip(file, FORWARD) for one, file in files.items() if file.exists()}
    found = {one: Footprint(**figures) for one, figures in read.items() if figures}
    unknown = [] if only_known else [one for one in networks if one not in found]
    for one, figures in zip(unknown, _measure([_described(one) for one in unknown]), strict=False):
        if figures is None:
            continue
        found[one] = Footprint(**figures)
        with contextlib.suppress(OSError):
            files[one].parent.mkdir(parents=True, exist_ok=True)
            replace(files[one], to_json(figures))
    return found


def _measure(asked: list[dict[str, Any]]) -> list[dict[str, float] | None]:
    if not asked:
        return []
    command = module_command("jobs.forward")
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else []


def _described(one: NetworkShape) -> dict[str, Any]:
    declared = known_datasets().get(one.dataset)
    return {
        "model": one.model,
        "parameters": json.loads(one.parameters),
        "dataset": one.dataset,
        "channels": declared.channels if declared else 3,
        "size": one.size or (declared.size if declared else 0) or 0,
        "classes": (declared.classes if declared else 0) or 10,
    }
