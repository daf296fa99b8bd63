"""Checks of a composed store: its parts must fit together. Nothing is compared with the tables here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rsctl.config.runs import TrainSpec
from rsctl.errors import UserError
from rsctl.package.merging import sha256_of
from rsctl.store.checks import check_content, check_shard
from rsctl.store.digest import Corrupt
from rsctl.store.imports import imports
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import entries_and_levels
from rsctl.store.run_kinds import RunKind
from rsctl.store.shards import read_shard
from rsctl.store.tables import data_files


@dataclass(frozen=True)
class Discrepancy:
    """Something in a package that isn't as it should be."""

    where: str
    """The member, or the run."""
    text: str
    """A sentence."""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def all_runs(store: Store) -> Iterator[Run]:
    """Every run of a composed store."""
    for kind in RunKind:
        yield from store.runs(kind)


def structure(store: Store, sweep: str) -> list[Discrepancy]:
    """Runs that the sweep names and the package lacks, specs that don't fit each other, rows that don't fit their run."""
    found: list[Discrepancy] = []
    try:
        entries = (
            entries_and_levels(store.sweep(sweep))
            if (store.sweep_folder(sweep) / "plan.json").exists()
            else []
        )
    except UserError as error:
        return [_of("sweep/plan.json", error, store)]
    for entry in entries:
        for run in (store.run(entry.kind, entry.run), *(store.model(model) for model in entry.models)):
            if not (run.path / "spec.json").is_file():
                found.append(
                    Discrepancy(
                        "sweep/plan.json", f"names the run {run.key}, which the package doesn't hold."
                    )
                )
    for run in all_runs(store):
        try:
            _check_run(run)
        except (
            UserError,
            Corrupt,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            ArithmeticError,
        ) as error:
            found.append(_of(f"runs/{run.key}", error, store))
    for log in imports(store):
        try:
            _ = log.radii
        except (UserError, OSError) as error:
            found.append(_of(f"imports/{log.id}", error, store))
    return list(dict.fromkeys(found))


def _of(where: str, error: Exception, store: Store) -> Discrepancy:
    text = str(error).replace(f"{store.root}/", "").replace(str(store.root), "…")
    return Discrepancy(where, f"{text.rstrip('.')}.")


def _check_run(run: Run) -> None:
    """Raises Corrupt or UserError where a run's spec, launch settings or rows don't fit."""
    spec: Any = run.spec
    launch = run.launch()
    if isinstance(spec, TrainSpec):
        for role, origin in spec.parents.items():
            parent = run.store.model(origin.run)
            if (parent.path / "spec.json").is_file() and parent.spec.hash != origin.hash:
                raise Corrupt(
                    f"its {role} {origin.run} has the hash {parent.spec.hash[:12]}…, not {origin.hash[:12]}…"
                )
        return
    model = run.store.model(spec.model_run)
    if not (model.path / "spec.json").is_file():
        raise Corrupt(f"its model {spec.model_run} isn't in the package")
    if model.spec.hash != spec.model_hash:
        raise Corrupt(
            f"its model {spec.model_run} has the hash {model.spec.hash[:12]}…, not {spec.model_hash[:12]}…"
        )
    # Only its cascade is certified from a level that is sampled as needed.
    if run.kind is RunKind.COUNTS and not (
        {"alpha", "certificates"} <= launch.keys() and (launch["certificates"] or spec.needed)
    ):
        raise Corrupt("its launch.json names no alpha or no certificate")
    for path in data_files(run):
        shard = check_shard(run, path, read_shard(path))
        check_content(run, path, shard)
        if model.model_file.exists() and sha256_of(model.model_file) != shard.attributes["model_sha256"]:
            raise Corrupt(
                f"its rows are about the checkpoint {str(shard.attributes['model_sha256'])[:12]}…, which model.pt isn't"
            )
