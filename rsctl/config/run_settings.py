"""The settings of a run by their keys in a sweep file, and those in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rsctl.catalog.weight_files import called
from rsctl.config.runs import AttackSpec, CountSpec, TableSpec, TrainSpec, VerifySpec

_CERTIFICATION = (
    "n", "n0", "selection", "seed", "split", "precision", "transfer", "gradient", "noise", "exponent", "shell_edges", "stopping", "stop_radii", "stop_delta", "stop_alpha",
    "tile", "block", "compile", "arithmetic",
)  # fmt: skip


def settings_of(train: TrainSpec, spec: TableSpec) -> dict[str, Any]:
    """All settings of a run by their keys in a sweep file; a checkpoint's file by its name and hash."""
    own = {f"method.{key}": value for key, value in train.hyperparameters.items()}
    if train.file and (digest := own.pop("method.sha256", "")):
        own["method.file"] = f"{called(train.file)} {digest[:8]}"
    return {
        "dataset": train.dataset,
        "model": train.model,
        "precision": train.precision,
        **{f"dataset.{key}": value for key, value in train.dataset_parameters.items()},
        **{f"model.{key}": value for key, value in train.model_parameters.items()},
        **own,
        **{f"training.{key}": value for key, value in train.recipe.model_dump().items()},
        "exponent": train.exponent,
        "noise": train.noise,
        **_of_table(train, spec),
    }


def _of_table(train: TrainSpec, spec: TableSpec) -> dict[str, Any]:
    if isinstance(spec, CountSpec):
        return {
            "certification.sigma": spec.sigma if spec.sigma != train.sigma else None,
            **{f"certification.{key}": getattr(spec, key) for key in _CERTIFICATION},
            **{
                f"certification.extras.{name}.{key}": value
                for name, extra in spec.extras.items()
                for key, value in extra["parameters"].items()
            },
            **({"certification.extras": sorted(spec.extras)} if spec.extras else {}),
        }
    if isinstance(spec, VerifySpec):
        own = {"verifier": spec.verifier, "norm": spec.norm, "radii": spec.radii, **spec.parameters}
        return {f"verification.{key}": value for key, value in own.items()}
    if isinstance(spec, AttackSpec):
        told = {
            "attack": spec.attack,
            "norm": spec.norm,
            "target": spec.target,
            "noises": spec.noises,
            "n": spec.n,
            "alpha": spec.alpha,
        }
        return {f"attack.{key}": value for key, value in {**told, **spec.parameters}.items()}
    return {}


def told_apart(key: str, column: list[Any]) -> list[Any]:
    """The values of a setting; checkpoints by their names alone where no two of them share one."""
    if key != "method.file":
        return column
    hashes: dict[str, set[str]] = {}
    for name, _, digest in (str(value).rpartition(" ") for value in column):
        hashes.setdefault(name, set()).add(digest)
    names = [str(value).rpartition(" ")[0] for value in column]
    return [name if len(hashes[name]) == 1 else value for name, value in zip(names, column, strict=True)]


def data_key(train: TrainSpec, spec: TableSpec) -> str:
    """Key that is equal for runs on the same data: data set, its parameters and files, split, held-out share."""
    tested = [spec.data] if spec.data != train.data else []
    return json.dumps(
        [train.dataset, train.dataset_parameters, train.data, spec.split, spec.holdout, *tested]
    )


def varying_settings(runs: Sequence[tuple[TrainSpec, TableSpec]]) -> list[dict[str, Any]]:
    """Per run the settings that differ between those of one method and σ on the same data."""
    found: list[dict[str, Any]] = [{} for _ in runs]
    groups: dict[tuple[str, str, float], list[int]] = {}
    for i, (train, spec) in enumerate(runs):
        groups.setdefault((data_key(train, spec), train.method, train.sigma), []).append(i)
    for group in groups.values():
        values = [settings_of(*runs[i]) for i in group]
        for key in dict.fromkeys(key for one in values for key in one):
            column = told_apart(key, [one.get(key) for one in values])
            if any(value != column[0] for value in column):
                for i, value in zip(group, column, strict=True):
                    found[i][key] = value
    return found
