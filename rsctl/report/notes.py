"""Distinguishing settings of rows, and notes for the readers of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rsctl.catalog.weight_files import called
from rsctl.certificates.possible import Asked, Draws
from rsctl.config.runs import AttackSpec, CountSpec, TableSpec, TrainSpec, VerifySpec
from rsctl.report.measured import OwnRow, Row
from rsctl.store.layout import Store
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable

if TYPE_CHECKING:
    from rsctl.report.attacked import AttackedRow

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


def seedless(store: Store, train: TrainSpec) -> dict[str, Any]:
    """A training without its seed, and so the models it learned from: equal for seeds of one recipe."""
    values = train.model_dump(mode="json", exclude={"seed"})
    for role, origin in train.parents.items():
        parent = store.run("models", origin.run)
        if (parent.path / "spec.json").is_file():
            values[role] = seedless(store, parent.train_spec)
    return values


def data_of(row: OwnRow) -> str:
    """Key that is equal for rows on the same data: data set, its parameters and files, split, held-out share."""
    train, spec = row.train, row.spec
    tested = [spec.data] if spec.data != train.data else []
    return json.dumps(
        [train.dataset, train.dataset_parameters, train.data, spec.split, spec.holdout, *tested]
    )


def mark_varying(rows: Sequence[OwnRow]) -> None:
    """Set the settings that differ between rows of one method and σ on the same data."""
    groups: dict[tuple[str, str, float], list[OwnRow]] = {}
    for row in rows:
        groups.setdefault((data_of(row), row.train.method, row.train.sigma), []).append(row)
    for group in groups.values():
        values = [settings_of(row.train, row.spec) for row in group]
        for key in dict.fromkeys(key for one in values for key in one):
            column = told_apart(key, [one.get(key) for one in values])
            if any(value != column[0] for value in column):
                for row, value in zip(group, column, strict=True):
                    row.varying[key] = value


def about_functions(table: StoredTable[Rows]) -> list[str]:
    """Note on a run whose images were counted by several executed functions, and their differences."""
    functions = [table.functions[number] for number in np.unique(table.rows.fingerprint)]
    if len(functions) < 2:
        return []
    keys = dict.fromkeys(key for function in functions for key in function)
    differing = [key for key in keys if any(one.get(key) != functions[0].get(key) for one in functions)]
    return [
        f"{table.run.id}: its images were counted by {len(functions)} executed functions, which differ in {', '.join(differing)}. "
        "Each image was counted by one of them alone, and its certificate holds for that one."
    ]


def about_shared_noise(seeds: Sequence[int]) -> str:
    """Note on counts of held-out images whose keys don't contain the split, by their certification seeds."""
    return (
        "These images share the noise of the test images at the same positions (keys of an older rsctl): certify a model, sigma or "
        f"setting chosen on them with another certification.seed than {', '.join(map(str, seeds))}, or repeat the "
        "choice with new counts."
    )


def asked_of(certificate: str, table: StoredTable[Rows], alpha: float, radii: Sequence[float]) -> list[Asked]:
    """Arguments of `rsctl.certificates.possible.too_few` for some images; empty where all positions were counted, or none yet."""
    spec = table.run.count_spec
    if not (spec.estimated and len(table.rows)):
        return []
    draws = Draws.of(spec, table.rows.counts.shape[1], int(table.attributes.get("dimension", 0)))
    return [Asked(certificate, draws, spec.n, alpha, tuple(radii))]


def warnings(rows: list[Row], attacked: Sequence[AttackedRow] = ()) -> list[str]:
    """Notes for the readers of these rows, besides those on attacks."""
    notes = []
    if any(row.count.split == "val" for row in rows):
        notes.append("Images held out of the training split, meant for tuning: not a test result.")
    if shared := sorted({row.count.seed for row in rows if row.count.shares_noise}):
        notes.append(about_shared_noise(shared))
    tuned = sorted(
        {
            key
            for row in rows
            for key in row.varying
            if row.count.split == "test" and not key.startswith("certification.")
        }
    )
    if tuned:
        notes.append(
            f"Runs of one method and noise level differ in {', '.join(tuned)}, on test images: choosing the best of them here "
            'is tuning on the test set. Tune with split = "val".'
        )
    seeds = {row.count.seed for row in rows if "certification.seed" in row.varying}
    if seeds:
        notes.append(
            "One model was certified with several seeds (images and noise): choosing the best of them "
            "is not sound. Report one, or all."
        )
    smoothed = {one.train.hash for one in attacked if one.spec.target == "smoothed"}
    if any(row.arithmetic == "exact" and row.train.hash in smoothed for row in rows):
        notes.append(
            "Attacks on the smoothed classifier draw its noise in float: the classifier certified in exact arithmetic is another one, "
            "whose robustness may differ."
        )
    incomplete = [row for row in rows if not row.complete]
    if incomplete:
        images, planned = sum(row.images for row in rows), sum(row.planned for row in rows)
        notes.append(
            f"{len(incomplete)} of {len(rows)} rows {'is' if len(incomplete) == 1 else 'are'} incomplete ({images} of {planned} images finished): their numbers are "
            "over the finished images, the beginning of a random order of those planned."
        )
    return notes
