"""Mirrors the training curves of a sweep into files of another tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.errors import InputError, UnavailableError, UserError, unknown
from rsctl.mirror.event_files import EventFiles
from rsctl.mirror.mlflow_store import MlflowStore
from rsctl.mirror.offline_runs import OfflineRuns
from rsctl.mirror.points import Mirror, MirroredRun, points_of
from rsctl.store.exclusion import exclusive
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Run, Store

MIRRORS: dict[str, Callable[[Path], Mirror]] = {
    "tensorboard": EventFiles,
    "wandb": OfflineRuns,
    "mlflow": MlflowStore,
}
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}
SHOWN_BY = {
    "tensorboard": "tensorboard --logdir {folder}",
    "wandb": "wandb sync {folder}/*/*/offline-run-*",
    "mlflow": "mlflow ui --backend-store-uri {folder}",
}
"""The command that shows or uploads a mirror."""


@dataclass(frozen=True)
class Mirrored:
    """The result of a call."""

    folder: Path
    points: dict[str, int]
    """New points of each training."""


def mirror_sweep(store: Store, sweep: str, tool: str) -> Mirrored:
    """Write the points of a sweep's trainings that its mirror lacks; safe to repeat, to kill, and to run twice at once.

    Raises InputError for an unknown tool or sweep, UnavailableError where the tool's package isn't installed.
    """
    if tool not in MIRRORS:
        raise InputError(f"mirror: {unknown('tool', tool, MIRRORS)}")
    plan, _ = find_sweep(store, sweep)
    models = dict.fromkeys(name for entry in plan["entries"] for name in entry.models)
    folder = store.root / "mirrors" / tool
    found: dict[str, int] = {}
    with exclusive(folder.parent / f"{tool}.lock", wait=True):
        opened = _open(tool, folder)
        for model in models:
            points = points_of(store.model(model))
            if points:
                shown = MirroredRun(model, sweep, _settings(store.model(model)), points)
                found[model] = opened.write(shown)
    return Mirrored(folder, found)


def _open(tool: str, folder: Path) -> Mirror:
    try:
        return MIRRORS[tool](folder)
    except ImportError as error:
        raise UnavailableError(
            f"mirror: {tool} can't be loaded ({error}). Install it: pip install {PACKAGES[tool]}. Trainings don't need it."
        ) from error


def _settings(run: Run) -> dict[str, Any]:
    """The settings of a training, flat, without the paths of its files."""
    try:
        spec = run.train_spec
    except UserError:
        return {}  # its curve is shown all the same
    own = {"method": spec.method, "dataset": spec.dataset, "model": spec.model, "sigma": spec.sigma, "seed": spec.seed,
           "precision": spec.precision, "noise": spec.noise}  # fmt: skip
    return {
        **own,
        **{f"method.{key}": value for key, value in spec.hyperparameters.items()},
        **{f"model.{key}": value for key, value in spec.model_parameters.items()},
        **{f"training.{key}": value for key, value in spec.recipe.model_dump(mode="json").items()},
    }
