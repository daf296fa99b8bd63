"""FLOPs of forward passes, used to scale a measured speed to another shape."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rsctl.catalog import known_datasets, known_models
from rsctl.config.identity import content_hash, identity
from rsctl.modules import module_command
from rsctl.store.fields import FORWARD
from rsctl.store.files import replace, to_json
from rsctl.store.layout import Store
from rsctl.store.records import read_or_skip


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


def flops(store: Store, networks: set[NetworkShape]) -> dict[NetworkShape, float]:
    """Return FLOPs per image of the networks that can be built; torch counts them once in a separate process, then the store keeps them."""
    files = {one: store.root / "bench" / "forward" / f"{content_hash(asdict(one))}.json" for one in networks}
    unknown = [one for one in networks if not files[one].exists()]
    if unknown:
        request = json.dumps([_described(one) for one in unknown])
        done = subprocess.run(module_command("jobs.forward"), input=request, capture_output=True, text=True)
        for one, counted in zip(
            unknown, json.loads(done.stdout) if done.returncode == 0 else (), strict=False
        ):
            with contextlib.suppress(OSError):
                replace(files[one], to_json({"flops": counted}))
    found = {one: read_or_skip(file, FORWARD) for one, file in files.items() if file.exists()}
    return {one: counted["flops"] for one, counted in found.items() if counted and counted["flops"]}


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
