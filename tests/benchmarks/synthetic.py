"""A large store made by the real writers: what a busy group has after a year, without its GPU-hours."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np

from rsctl.config.settings import Place, Settings
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.store.attempts import Claim
from rsctl.store.files import replace
from rsctl.store.layout import Run, Store
from rsctl.store.shards import Rows, Shard, encode_shard
from rsctl.store.tables import shard_file

CLASSES = 10


def make_store(root: Path, runs: int, images: int, shards: int, *, sweep: str = "synthetic") -> Place:
    """A finished sweep of `runs` models on CIFAR-10's test set, `images` of them certified in `shards` tasks each."""
    place = Place(settings=Settings(), file=None, store=root, data=root / "data")
    raw = {
        "name": sweep,
        "dataset": "cifar10",
        "model": "resnet20",
        "method": "gaussian",
        "sigma": 0.5,
        "certification": {"n": 1000, "max_images": images, "shards": shards},
        "grid": {"seed": list(range(runs))},
    }
    plan = make_plan(build_sweep(raw, "synthetic.toml", place.data), "synthetic.toml")
    commit(plan, place, update=False)
    store = Store(root)
    random = np.random.default_rng(0)
    for model in plan.models.values():
        run = store.run("models", model.spec.run_id)
        replace(run.model_file, b"synthetic")
        _finish(run, 0, 3520, "steps")
    for counts in plan.tables.values():
        run = store.run("counts", counts.spec.run_id)
        for number in run.task_numbers():
            positions = run.images(number)
            claim = _finish(run, number, len(positions), "images")
            write_shard(run, number, claim.number, positions, random)
    return place


def _finish(run: Run, number: int, total: int, unit: str) -> Claim:
    """An attempt with a long life behind it: fifty progress records and an end."""
    claim = Claim.take(
        run,
        number,
        {"host": socket.gethostname(), "boot": "gone", "pid": os.getpid(), "start": "0", "threads": 1},
    )
    for step in range(50):
        claim.write("progress", done=total * (step + 1) / 50, total=total, unit=unit, rate=100.0)
    claim.write("end", state="done", reason="")
    return claim


def write_shard(
    run: Run, number: int, attempt: int, positions: list[int], random: np.random.Generator
) -> None:
    """Plausible counts: a clear majority for a class that is mostly the label."""
    count, n = len(positions), run.count_spec.n
    label = np.array(positions) * 7 // 3 % CLASSES  # the same in every run
    likely = np.where(random.random(count) < 0.8, label, (label + 1) % CLASSES)
    p = random.beta(6, 1.5, count)
    probabilities = np.full((count, CLASSES), 1.0) * ((1 - p) / (CLASSES - 1))[:, None]
    probabilities[np.arange(count), likely] = p
    rows = Rows(
        index=np.array(positions, np.int64),
        label=label.astype(np.int32),
        selection_counts=random.multinomial(100, probabilities).astype(np.int32),
        counts=random.multinomial(n, probabilities).astype(np.int32),
        n=np.full(count, n, np.int64),
        seconds=np.full(count, 0.1),
        fingerprint=np.zeros(count, np.int32),
    )
    attributes = {
        "spec": "{}",
        "spec_hash": run.spec.hash,
        "model_sha256": run.count_spec.model_hash,
        "dimension": 3072,
    }
    replace(
        shard_file(run, number, attempt),
        encode_shard(Shard(rows, attributes, [{"device": "synthetic"}]), {}, 0.001),
    )
