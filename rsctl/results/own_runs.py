"""Fields that every measurement of a run of this store has."""

from __future__ import annotations

import json
from typing import Any

from rsctl.config.runs import TrainSpec
from rsctl.results.image_order import ImageOrder
from rsctl.store.degenerate import Verdict, of_folder
from rsctl.store.layout import Run, Store
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.tables import StoredTable
from rsctl.store.tally import verdict


def about_run(table: StoredTable[Any], order: ImageOrder) -> dict[str, Any]:
    """Run, training and images of a table, as fields of a measurement."""
    run, rows, train = table.run, table.rows, _model(table.run).train_spec
    return {
        "run": run.id, "kind": run.kind, "spec": run.table_spec, "train": train, "index": rows.index, "seconds": rows.seconds,
        "planned": len(order), "subset": order.subset, "subset_key": order.key, "checkpoint": table.model_sha256,
        "problems": table.problems, "recipe": json.dumps(seedless(run.store, train), sort_keys=True),
    }  # fmt: skip


def network_verdict(table: StoredTable[Rows] | StoredTable[DistanceBounds]) -> Verdict | None:
    """The verdict that the network learned nothing, from its table or from the end of its training."""
    return verdict(table.rows) or training_verdict(table.run)


def training_verdict(run: Run) -> Verdict | None:
    return of_folder(_model(run).path)


def _model(run: Run) -> Run:
    return run.store.run("models", run.table_spec.model_run)


def seedless(store: Store, train: TrainSpec) -> dict[str, Any]:
    """A training without its seed, and so the models it learned from: equal for seeds of one recipe."""
    values = train.model_dump(mode="json", exclude={"seed"})
    for role, origin in train.parents.items():
        parent = store.run("models", origin.run)
        if (parent.path / "spec.json").is_file():
            values[role] = seedless(store, parent.train_spec)
    return values
