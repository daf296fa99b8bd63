"""Small stores and rows for the tests of reports: real files through the store's own writers, made-up counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rsctl.catalog.recipe import Recipe
from rsctl.certificates import Certified
from rsctl.config.runs import CountSpec, TrainSpec
from rsctl.config.settings import Place, Settings
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.results.accuracy import Cell
from rsctl.results.measurement import Measurement
from rsctl.store.files import replace
from rsctl.store.layout import Run, Store
from rsctl.store.shards import Rows, Shard, encode_shard

N0, N, CLASSES = 10, 1000, 10


def make_row(method: str = "gaussian", accuracies: tuple[float, ...] = (0.5,), *, sigma: float = 0.5, seed: int = 0,
             images: int = 1000, planned: int = 1000, dataset: str = "cifar10", split: Any = "test", **changes: Any) -> Measurement:  # fmt: skip
    """A row with the given certified accuracies at radii 0, 0.25, …"""
    train = TrainSpec(
        method=method, revision=1, hyperparameters={}, recipe=Recipe(), dataset=dataset, dataset_parameters={}, model="resnet110",
        model_parameters={}, sigma=sigma, seed=seed, precision="fp32",
    )  # fmt: skip
    count = CountSpec(
        model_hash=train.hash, model_run=train.run_id, dataset=dataset, dataset_parameters={}, split=split, sigma=sigma,
        seed=0, n0=100, n=100_000, precision="fp32", tile=400, block=100,
    )  # fmt: skip
    values: dict[str, Any] = {
        "run": count.run_id, "kind": "counts", "train": train, "spec": count, "certificate": "cohen", "guarantee": "probabilistic 0.999", "norm": "l2",
        "k": 1, "alpha": 0.001, "index": np.arange(images), "labels": np.zeros(images, np.int32), "seconds": np.zeros(images),
        "certified": Certified(np.zeros(images, np.int64), np.zeros(images), np.zeros(images, bool)), "planned": planned, "acr": 0.5, "abstain_rate": 0.1, "cap_share": 0.0,
        "cells": [Cell(0.25 * i, round(a * images), images) for i, a in enumerate(accuracies)], "subset": "all of 10000",
    }  # fmt: skip
    return Measurement(**{**values, **changes})


def make_store(
    root: Path, *, name: str = "sweep", counts: bool = True, **raw: Any
) -> tuple[Store, list[Run]]:
    """A submitted sweep on digits; with `counts` every image of every run is in."""
    values = {
        "name": name, "dataset": "digits", "model": "cnn", "method": "gaussian", "sigma": 0.5,
        "certification": {"n0": N0, "n": N, "certificates": ["cohen"], "radii": [0.0, 0.25, 0.5]}, **raw,
    }  # fmt: skip
    place = Place(settings=Settings(), file=None, store=root, data=root / "data")
    plan = make_plan(build_sweep(values, "sweep.toml", place.data), "sweep.toml", Store(root))
    commit(plan, place, update=False)
    runs = [Store(root).run("counts", table.spec.run_id) for table in plan.tables.values()]
    if counts:
        for number, (run, planned) in enumerate(zip(runs, plan.tables.values(), strict=True)):
            write_counts(run, planned.images, seed=number)
    return Store(root), runs


def write_counts(
    run: Run, images: list[int], *, seed: int = 0, skill: float = 0.8, only: int | None = None
) -> None:
    """One compacted file with plausible counts for these images; labels are a function of the image.

    With `only` every draw of every image gives that class.
    """
    rng = np.random.default_rng(seed)
    index = np.array(sorted(images), np.int64)
    label = (index * 7 % CLASSES).astype(np.int32)
    top = np.where(rng.random(len(index)) < skill, label, (label + 1) % CLASSES)
    top = top if only is None else np.full_like(top, only)
    rows = np.arange(len(index))
    counts = np.zeros((len(index), CLASSES), np.int32)
    hits = rng.binomial(N, rng.beta(3, 0.6, len(index))) if only is None else np.full(len(index), N)
    counts[rows, top] = hits
    counts[rows, (top + 3) % CLASSES] += (N - hits).astype(np.int32)
    selection = np.zeros_like(counts)
    selection[rows, top] = N0
    table = Rows(
        index=index,
        label=label,
        selection_counts=selection,
        counts=counts,
        n=np.full(len(index), N),
        seconds=np.full(len(index), 0.25),
        fingerprint=np.zeros(len(index), np.int32),
    )
    attributes = {"spec_hash": run.spec.hash, "model_sha256": run.spec.hash, "dimension": 64}
    replace(run.path / "counts.h5", encode_shard(Shard(table, attributes, [{"device": "none"}]), {}, 0.001))
