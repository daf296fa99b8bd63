"""Tables of verifiers and attacks: rows as they are stored, resume after a kill, and proofs that contradict themselves."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny, wait_until

from rsctl.cluster.control import sweep_statuses
from rsctl.cluster.local.processes import task_processes
from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.attempts import read_attempt
from rsctl.store.layout import Run
from rsctl.store.rows import DistanceBounds
from rsctl.store.shards import Shard, encode_shard, read_shard
from rsctl.store.tables import read_findings, read_table, shard_file
from rsctl.store.task_context import Stopped, TaskContext

SWEEP = tiny(
    sigma=0.0,
    verification=[{"verifier": "ibp", "batch": 4, "max_images": 20, "shards": 1}],
    attack=[{"attack": "ddn", "steps": 20, "max_images": 150, "shards": 1}],
)
"""The base model is attacked 128 images at a time."""


def findings(size: int = 3, **columns: Any) -> DistanceBounds:
    values: dict[str, Any] = {
        "index": np.arange(size), "label": np.zeros(size, np.int32), "seconds": np.ones(size),
        "fingerprint": np.zeros(size, np.int32), "predicted": np.zeros(size, np.int32),
        "lower": np.full(size, 0.25), "upper": np.full(size, np.inf),
    }  # fmt: skip
    return DistanceBounds(**{**values, **columns})


def only(chain: Chain, kind: str) -> Run:
    (run,) = chain.store.runs(kind)
    return run


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = findings(upper=np.array([0.5, np.inf, 0.25]), adversarial=np.random.rand(3, 1, 2, 2).astype("f4"))
    file = tmp_path / "0000.1.h5"
    file.write_bytes(encode_shard(Shard(rows, {"spec_hash": "x"}, [{"device": "cpu"}])))
    read = read_shard(file).rows
    assert isinstance(read, DistanceBounds)
    for name in (*DistanceBounds.COLUMNS, "adversarial"):
        assert np.array_equal(getattr(read, name), getattr(rows, name)), name


@pytest.mark.parametrize(
    ("column", "values"),
    [("lower", [0.1, -0.1, 0.2]), ("lower", [0.1, np.nan, 0.2]), ("upper", [np.nan, 1.0, 1.0]), ("fingerprint", [0, 1, 0])],
)  # fmt: skip
def test_impossible_rows_are_told(column: str, values: list[float]) -> None:
    kind = np.int32 if column == "fingerprint" else np.float64
    assert findings(**{column: np.array(values, kind)}).problem(1)
    assert not findings().problem(1)


def test_a_sweep_without_noise_goes_from_the_file_to_the_table(chain: Chain) -> None:
    chain.run_all(SWEEP)
    proved, attacked = (read_findings(only(chain, kind)).rows for kind in ("verifications", "attacks"))
    assert (len(proved), len(attacked)) == (20, 150)
    attacked = attacked.take(np.isin(attacked.index, proved.index))
    # The attack speaks of the ℓ2 distance, the proof of ℓ∞, which is never larger: so no proof may lie beyond.
    assert (proved.lower <= attacked.upper).all()
    assert (proved.lower[proved.predicted == proved.label] > 0).any()
    assert np.isfinite(attacked.upper).any()
    results = sweep_results(chain.store, "tiny", radii=[0.0, 0.001])
    (row,) = results.proved
    right = proved.predicted == proved.label
    assert row.cells[1].certified == int((right & (proved.lower >= 0.001)).sum())
    for form in ("md", "csv", "latex", "json"):
        assert "deterministic, of the base classifier" in render(results, form)
    assert not list(chain.store.runs("counts"))


def test_the_image_that_was_found_is_kept_and_is_misclassified(chain: Chain) -> None:
    chain.run_all(SWEEP)
    from jobs.models.load import Executed, load_trained
    from rsctl.catalog import find, known_datasets
    from rsctl.catalog.shape import parameters_of, shape_of

    run, digits = only(chain, "attacks"), find("data set", "digits", known_datasets())
    shape = shape_of("digits", parameters_of("dataset", digits, {}), chain.place.data)
    spec = run.table_spec
    model, _ = load_trained(only(chain, "models").model_file, spec.model_hash, shape)
    rows = read_findings(run).rows
    assert rows.adversarial is not None
    with torch.no_grad():
        classes = Executed(model, spec.precision)(torch.from_numpy(rows.adversarial)).argmax(dim=1).numpy()
    broken = np.isfinite(rows.upper)
    assert (classes[broken] != rows.label[broken]).all()


def stop_after(images: int) -> type[TaskContext]:
    class Stopping(TaskContext):
        def progress(
            self, done: float, total: float, unit: str, *, force: bool = False, **values: Any
        ) -> None:
            super().progress(done, total, unit, force=force, **values)
            if done >= images:
                self.request_stop("told to")

    return Stopping


@pytest.mark.parametrize("kind", ["verifications", "attacks"])
def test_a_task_that_was_stopped_goes_on_and_finds_the_same(chain: Chain, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    tasks = {request.task.run.kind: request.task for request in chain.plan(SWEEP).requests}
    chain.run(tasks["models"])
    with pytest.raises(Stopped):
        chain.run(tasks[kind], stop_after(6))
    begun = read_findings(tasks[kind].run).rows
    assert 6 <= len(begun) < len(tasks[kind].run.images(0))
    chain.run(tasks[kind])
    resumed = read_findings(tasks[kind].run)
    model = only(chain, "models").model_file.read_bytes()
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "quiet"))
    quiet = {request.task.run.kind: request.task for request in chain.plan(SWEEP).requests}
    quiet["models"].run.model_file.write_bytes(model)
    chain.run(quiet[kind])
    undisturbed = read_findings(quiet[kind].run)
    for name in ("index", "label", "predicted", "lower", "upper"):
        assert np.array_equal(getattr(resumed.rows, name), getattr(undisturbed.rows, name)), name
    assert resumed.run.path.joinpath("findings.h5").is_file()


@pytest.mark.long
def test_a_killed_verification_goes_on(chain: Chain) -> None:
    sweep = tiny(sigma=0.0, verification=[{"verifier": "crown", "batch": 2, "shards": 1, "max_images": 30}])
    file = chain.file(sweep)
    chain.cli("submit", file)
    wait_until(lambda: any(key.startswith("verifications") for key in task_processes(chain.store)), 120)
    wait_until(lambda: len(read_findings(only(chain, "verifications")).rows) > 0, 120)
    for pid in chain.pids():
        os.kill(pid, signal.SIGKILL)
    done = chain.cli("submit", file, "--wait", timeout=280)
    assert done.code == 0, done.err
    assert len(read_findings(only(chain, "verifications")).rows) == 30


def test_a_proof_beyond_a_counterexample_fails_loudly(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that proves too much, and finds what disproves it."""
    import jobs.verifiers.ibp as ibp
    from jobs.verifiers import Verdicts

    class Wrong:
        batch = 4

        def verify(self, images: torch.Tensor, labels: torch.Tensor) -> Verdicts:
            far = torch.ones(len(images), dtype=torch.float64)
            return Verdicts(labels, far, far / 2, images)

    tasks = {request.task.run.kind: request.task for request in chain.plan(SWEEP).requests}
    chain.run(tasks["models"])
    monkeypatch.setattr(ibp, "prepare", lambda *_, **__: Wrong())
    with pytest.raises(RuntimeError, match="a proof is wrong"):
        chain.run(tasks["verifications"])
    assert not len(read_findings(tasks["verifications"].run).rows)


def test_counts_among_findings_are_no_part_of_them(chain: Chain) -> None:
    """A file of the other kind is named and set aside, not mixed in."""
    committed = chain.run_all(tiny(verification={"verifier": "ibp", "shards": 1, "max_images": 4}))
    run = only(chain, "verifications")
    counts = read_table(chain.counts_run())
    shard = Shard(counts.rows, {**counts.attributes, "spec_hash": run.spec.hash}, counts.functions)
    shard_file(run, 0, 9).parent.mkdir(exist_ok=True)
    shard_file(run, 0, 9).write_bytes(encode_shard(shard))
    table = read_findings(run)
    assert len(table.rows) == 4
    assert "its rows don't belong to a run in 'verifications'" in table.problems[0]
    assert committed.requests


def test_an_image_that_takes_long_is_told_while_it_does(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobs.per_image.findings
    import jobs.verifiers.ibp as ibp
    from jobs.verifiers import Verdicts

    sweep = tiny(sigma=0.0, verification={"verifier": "ibp", "max_images": 3, "shards": 1})
    tasks = {request.task.run.kind: request.task for request in chain.plan(sweep).requests}
    task, heard, before = tasks["verifications"], [], threading.active_count() - 1

    def reason() -> str:
        return sweep_statuses(chain.place, "tiny")[task.key].reason

    class Slow:
        batch = 1

        def verify(self, images: torch.Tensor, labels: torch.Tensor) -> Verdicts:
            heard.append(f"image {len(heard) + 1} of 3, ")
            wait_until(lambda: reason().startswith(heard[-1]) and reason().endswith(" s on it"), 20)
            radius = torch.zeros(1, dtype=torch.float64)
            return Verdicts(labels, radius, radius + 1, images)

    chain.run(tasks["models"])
    monkeypatch.setattr(ibp, "prepare", lambda *_, **__: Slow())
    monkeypatch.setattr(jobs.per_image.findings, "REPORT_EVERY", 0.02)
    chain.run(task)
    assert len(heard) == 3
    assert reason() == ""
    assert read_attempt(task.run, 0, 1).progress["done"] == 3
    assert threading.active_count() == 1 + before
