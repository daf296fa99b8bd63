"""Memory that is estimated for a task against the most that the task's own process takes: rather too much than too little."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest
from chain import Chain, tiny
from folders import shapes

from rsctl.config.sweep import build_sweep
from rsctl.modules import module_command
from rsctl.plan.memory import PYTHON, TRAINER, estimate_memory
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Task
from rsctl.store.attempts import latest_attempt

LEAST, MOST = 0.65, 2.1
"""Bounds of estimate / measurement: the peak of one and the same sampling task varies by half from run to run."""


def most(task: Task) -> float:
    """GB that the task's process had at most, as it records itself."""
    command = shlex.join(module_command("rsctl.cluster.task", str(task.run.path), str(task.number)))
    # Through a shell: what a process had before it became another program counts as its own, and pytest is large.
    done = subprocess.run(["sh", "-c", f"{command}; exit $?"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    attempt = latest_attempt(task.run, task.number)
    assert attempt is not None
    return float(attempt.progress["memory_gb"])


def sweep(model: str, size: int, batch: int, tile: int, **changes: Any) -> dict[str, Any]:
    return tiny(
        dataset={"name": "imagefolder", "path": "own", "size": size},
        model=model,
        training={"epochs": 1, "batch_size": batch, "warmup_epochs": 0.0},
        certification={"n0": tile, "n": tile, "max_images": 1, "shards": 1, "tile": tile, "block": tile},
        **changes,
    )


COMBINATIONS = [
    pytest.param("resnet20", 32, 256, 1000, {}, id="resnet20-32px"),
    pytest.param("resnet20", 32, 64, 400, {"method": {"name": "macer", "noises": 8}}, id="macer-resnet20-32px", marks=pytest.mark.long),
    pytest.param("resnet20", 32, 256, 1000, {"precision": {"training": "bf16", "certification": "bf16"}}, id="resnet20-32px-bf16", marks=pytest.mark.long),
    pytest.param("resnet18", 64, 48, 200, {}, id="resnet18-64px", marks=pytest.mark.long),
    pytest.param("wideresnet", 32, 128, 1000, {}, id="wideresnet-32px", marks=pytest.mark.long),
    pytest.param("resnet110", 32, 128, 400, {}, id="resnet110-32px", marks=pytest.mark.long),
    pytest.param("resnet50", 224, 16, 100, {}, id="resnet50-224px", marks=pytest.mark.long),
    pytest.param("ibp-large", 32, 32, 1000, {"method": {"name": "crown-ibp", "epsilon_start": 0.0, "epsilon_epochs": 0.0}}, id="crown-ibp-large-32px", marks=pytest.mark.long),
]  # fmt: skip


@pytest.mark.parametrize(("model", "size", "batch", "tile", "changes"), COMBINATIONS)
def test_what_is_estimated_is_what_a_task_takes(
    chain: Chain, model: str, size: int, batch: int, tile: int, changes: dict[str, Any]
) -> None:
    each = -(-batch // 3)
    shapes(chain.folder / "data/own", train=(each,) * 3, test=(1,) * 3, size=size)
    values = sweep(model, size, batch, tile, **changes)
    plan = make_plan(build_sweep(values, "sweep.toml", chain.place.data), "sweep.toml")
    estimated = estimate_memory(plan, {})
    for request in chain.plan(values).requests:
        key = f"{request.task.run.kind}/{request.task.run.id}"
        # Without the least that is asked for: it would hide a network that is left out.
        predicted = (TRAINER if request.task.run.kind == "models" else PYTHON) + estimated[key].network
        measured = most(request.task)
        print(f"{key}: {predicted:.2f} GB estimated, {measured:.2f} measured, {predicted / measured:.2f}")
        assert LEAST < predicted / measured < MOST, (key, predicted, measured)
