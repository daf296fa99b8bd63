"""A synthetic store for the dashboard, made with the writers that real runs use."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsctl.certificates import find_certificate
from rsctl.cluster.local.requests import own_queue
from rsctl.config.sections import StageResources
from rsctl.config.settings import Place, load_settings
from rsctl.config.sweep import load_sweep
from rsctl.plan.commit import Committed, commit, save_sweep_file
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import Claim, here, latest_attempt
from rsctl.store.compaction import compact
from rsctl.store.files import append, publish, replace
from rsctl.store.layout import Run, Store
from rsctl.store.shards import Rows, Shard, encode_shard
from rsctl.store.tables import shard_file

CLASSES = 10

SWEEP = """\
name = "{name}"
description = "{description}"
dataset = "digits"
model = "cnn"
method = "gaussian"

[grid]
sigma = {sigmas}
seed = {seeds}

[certification]
certificates = ["cohen"]
n0 = 100
n = 1000
shards = {shards}
max_images = {images}
radii = [0.0, 0.25, 0.5, 0.75]
"""


@dataclass
class Synthetic:
    """A store under a folder."""

    place: Place

    @property
    def store(self) -> Store:
        return Store(self.place.store)

    def sweep(
        self, name: str, *, sigmas: list[float], seeds: list[int], shards: int = 2, images: int = 60, description: str = ""
    ) -> Committed:  # fmt: skip
        """Plan and commit a sweep; nothing of it has run."""
        file = self.place.store.parent / f"{name}.toml"
        text = SWEEP.format(name=name, sigmas=sigmas, seeds=seeds, shards=shards, images=images, description=description)  # fmt: skip
        file.write_text(text)
        committed = commit(make_plan(load_sweep(file, self.place.data), str(file)), self.place, update=True)
        save_sweep_file(self.place, name, file)
        return committed

    def let_go(self, name: str) -> None:
        """End the claims of this process on a sweep's tasks: stopping them would send it a signal."""
        for run in [*self.models(name), *self.counts(name)]:
            for number in run.task_numbers():
                attempt = latest_attempt(run, number)
                if attempt and not attempt.ended:
                    claim = Claim(run, number, attempt.number)
                    claim.write("end", state="stopped", reason="signal SIGTERM")

    def models(self, name: str) -> list[Run]:
        return [self.store.run("models", entry.model) for entry in self.store.sweep(name)["entries"]]

    def counts(self, name: str) -> list[Run]:
        return [self.store.run("counts", entry.run) for entry in self.store.sweep(name)["entries"]]

    def train(self, run: Run, steps: int = 200, *, finish: bool = True) -> Claim:
        """An attempt at training with its metrics; with `finish`, the model as well."""
        claim = Claim.take(run, 0, {**here(), "threads": 1})
        metrics = run.path / f"metrics.{claim.number}.jsonl"
        metrics.touch()
        for step in range(0, steps + 1, max(1, steps // 40)):
            share = step / 400
            append(metrics, {"step": step, "epoch": step / 10, "loss": 2.3 * 0.1**share, "accuracy": min(1.0, 0.1 + share),
                             "lr": 0.1, "images_per_second": 900.0, "time": time.time()})  # fmt: skip
        claim.write("progress", done=steps, total=400, unit="steps", rate=50.0)
        if finish:
            publish(run.model_file, b"a model")
            claim.write("end", state="done", reason="")
        return claim

    def count(self, run: Run, task: int, *, share: float = 1.0, seed: int = 0, finish: bool = True) -> Claim:
        """An attempt at a certification task with the first `share` of its images in."""
        claim = Claim.take(run, task, {**here(), "threads": 1})
        images = run.images(task)
        write_shard(run, task, claim.number, images[: round(share * len(images))], seed)
        done = round(share * len(images))
        claim.write("progress", done=done, total=len(images), unit="images", rate=20.0)
        if finish:
            claim.write("end", state="done", reason="")
        return claim

    def complete(self, name: str) -> None:
        """Everything of a sweep done and compacted."""
        for run in self.models(name):
            self.train(run)
        for run in self.counts(name):
            for task in run.task_numbers():
                self.count(run, task)
            compact(run)

    def log(self, task: Task, data: bytes) -> Path:
        replace(task.run.log_file(task.number), data)
        return task.run.log_file(task.number)


def write_shard(run: Run, task: int, attempt: int, images: list[int], seed: int = 0) -> None:
    """Counts of these images: the right class wins most draws, less often the larger σ is."""
    spec, rng = run.count_spec, np.random.default_rng(seed + 1000 * task)
    rows = len(images)
    label = np.array([image % CLASSES for image in images], np.int32)
    clear = np.clip(rng.normal(0.95 - 0.3 * spec.sigma, 0.15, rows), 0.02, 1.0)

    def draws(n: int) -> Any:
        right = rng.binomial(n, clear)
        counts = np.zeros((rows, CLASSES), np.int32)
        counts[np.arange(rows), label] = right
        counts[np.arange(rows), (label + 1) % CLASSES] += (n - right).astype(np.int32)
        return counts

    table = Rows(
        index=np.array(images, np.int64), label=label, selection_counts=draws(spec.n0), counts=draws(spec.n),
        n=np.full(rows, spec.n, np.int64), seconds=np.full(rows, 0.05), fingerprint=np.zeros(rows, np.int32),
    )  # fmt: skip
    attributes = {
        "spec_hash": run.spec.hash,
        "model_sha256": hashlib.sha256(b"a model").hexdigest(),
        "dimension": 64,
    }
    shard = Shard(table, attributes, [{"dtype": "float32"}])
    from rsctl.certificates import CountTable

    counts = CountTable(table.selection_counts, table.counts, table.n, spec.sigma, 64)
    certified = {"cohen": find_certificate("cohen").certify(counts, 0.001)} if rows else {}
    replace(shard_file(run, task, attempt), encode_shard(shard, certified, 0.001))


def waits_for_its_model(made: Synthetic, name: str) -> None:
    """Ask the local queue for the certification tasks of a sweep that haven't begun; no queue runs."""
    for model, run in zip(made.models(name), made.counts(name), strict=True):
        for number in run.task_numbers():
            if latest_attempt(run, number) is None:
                own_queue(made.store).add(
                    Request(Task(run, number), (Task(model, 0),), StageResources(gpus=0), "", 0)
                )


def make_store(folder: Path, monkeypatch: Any = None) -> Synthetic:
    """An empty store below `folder`; the environment is pointed at it."""
    settings = {"RSCTL_STORE": str(folder / "runs"), "RSCTL_DATA": str(folder / "data"), "RSCTL_CONFIG": str(folder / "rsctl.toml")}  # fmt: skip
    (folder / "rsctl.toml").write_text("")
    for name, value in settings.items():
        if monkeypatch is not None:
            monkeypatch.setenv(name, value)
        else:
            import os

            os.environ[name] = value
    return Synthetic(load_settings())
