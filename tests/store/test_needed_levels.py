"""Levels of a cascade that are sampled as needed: planned, run after those before them, killed, exported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, StopsAfter, tiny

from jobs.certify import count
from rsctl.certificates import certificates
from rsctl.certificates.cascade import Cascade, bounds_of, deciding_radius
from rsctl.cli.app import run as rsctl
from rsctl.cluster.local.backend import LocalBackend
from rsctl.cluster.local.queue import QueueProcess
from rsctl.cluster.local.requests import own_queue
from rsctl.cluster.retry import _with_needs
from rsctl.cluster.slurm.arrays import make_arrays
from rsctl.config.settings import LocalProfile
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import RefusedError
from rsctl.plan.commit import Committed
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Task
from rsctl.results.cascade import draws_saved
from rsctl.results.opening import open_cascade
from rsctl.results.sweep import sweep_results
from rsctl.store.attempts import Claim, State, here
from rsctl.store.checks import check_shard
from rsctl.store.files import replace as write
from rsctl.store.layout import Run
from rsctl.store.needed import settled_images
from rsctl.store.rows import Rows
from rsctl.store.shards import Corrupt, read_shard
from rsctl.store.tables import read_table
from rsctl.store.tally import verdict
from rsctl.store.task_context import Stopped
from rsctl.tui.curves import Curves
from rsctl.tui.watch import Watcher

CASCADE: dict[str, Any] = {"levels": [0.25, 0.5], "tau": 0.6, "order": "as-needed"}
CERTIFICATION = {
    "n0": 10,
    "n": 400,
    "max_images": 30,
    "shards": 2,
    "radii": [0.0, 0.2],
    "certificates": ["cohen"],
}


def values(cascade: Any, **certification: Any) -> dict[str, Any]:
    return tiny(
        grid={"sigma": [0.25, 0.5]},
        training={"epochs": 4},
        certification={**CERTIFICATION, **certification},
        cascade=cascade,
    )


def level_of(chain: Chain, committed: Committed) -> tuple[list[Task], list[Task]]:
    """The tasks of the first level, and of the second one, which is sampled as needed."""
    tables = [one.task for one in committed.requests if one.task.run.kind.is_table]
    first = [one for one in tables if not one.run.count_spec.needed]
    return first, [one for one in tables if one.run.count_spec.needed]


def arrays(run: Run) -> dict[str, Any]:
    rows = read_table(run).rows
    return {
        name: getattr(rows, name).tolist() for name in ("index", "n", "selection_counts", "counts", "label")
    }


def test_whatever_is_killed_the_counts_are_the_same_and_the_radii_those_of_the_full_cascade(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = chain.plan(values(CASCADE))
    first, second = level_of(chain, committed)
    for request in committed.requests:
        if not request.task.run.kind.is_table:
            chain.run(request.task)
    # Before the first level is sampled the second one says what it lacks.
    with pytest.raises(
        RefusedError, match=r"needs the counts of .* first, which lacks 15 images of this task"
    ):
        count.main(chain.work(second[0]))
    for task in (*first, *second):
        chain.run(task)
    rows = read_table(second[0].run).rows
    assert 0 < (~rows.drawn).sum() < 30
    whole, one = arrays(second[0].run), read_table(first[0].run).counts()
    decided = deciding_radius(one, 0.6, 0.001 / bounds_of(2))
    assert np.array_equal(rows.drawn, ~(decided > 0))

    # Both levels sampled everywhere: the same draws, and the same radii where the second one is needed.
    full = chain.run_all({**values({**CASCADE, "order": "all"}), "name": "full"})
    (other,) = {one.task.run for one in full.requests}
    everything = read_table(other).rows
    assert np.array_equal(everything.counts[rows.drawn], rows.counts[rows.drawn])
    (needed,), (every,) = (sweep_results(chain.store, name).cascades for name in ("tiny", "full"))
    assert np.array_equal(needed.certified.radius[rows.drawn], every.certified.radius[rows.drawn])
    assert np.array_equal(needed.certified.radius[~rows.drawn], decided[~rows.drawn])
    assert (needed.certified.radius <= every.certified.radius).all()
    saved = int((~rows.drawn).sum())
    assert draws_saved(needed) == {
        "left_out": saved,
        "of_images": 30,
        "draws_saved": 410 * saved,
        "of_draws": 24600,
    }
    assert needed.mean_draws == pytest.approx(400 + 400 * rows.drawn.mean())

    # Shown everywhere, and by nothing as a classifier of its own.
    told = f"as needed, {saved} of 30 images left out of later levels: {410 * saved:,} of 24,600 draws saved"
    for command in (["status", "tiny"], ["export", "tiny"]):
        assert rsctl(command) == 0
        shown = " ".join(" ".join(capsys.readouterr()).split())
        assert told in shown, shown
    assert rsctl(["export", "tiny", "--format", "json", "--certificate", "runner-up"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["as_needed"][0]["draws_saved"] == 410 * saved
    assert {row["run"] for row in exported["rows"]} == {first[0].run.id, needed.run}
    assert rsctl(["compare", "tiny", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["comparisons"]) == 1
    assert rsctl(["export", "tiny", "--cascade", needed.run]) == 0
    assert rsctl(["plot", "tiny", "-o", str(tmp_path / "figure.png"), "--kind", "cascades"]) == 0
    assert rsctl(["export", "tiny", "--alpha", "0.0001"]) == 0
    assert "sampled for alpha = 0.001" in " ".join(" ".join(capsys.readouterr()).split())
    opened = open_cascade(chain.store, needed.run)
    assert opened.certified.radius.tolist() == needed.certified.radius.tolist()
    assert rsctl(["compare", second[0].run.id, first[0].run.id]) == 2
    assert needed.run in capsys.readouterr().err
    wrong = f"{first[0].run.id}@0.7+{second[0].run.id}"
    assert rsctl(["compare", wrong, first[0].run.id]) == 2
    assert "of no other cascade" in capsys.readouterr().err
    for name, rule in certificates().items():
        with pytest.raises(RefusedError):
            rule.certify(read_table(second[0].run).counts(), 0.001)
        assert name

    # The dashboard: the cascade has a curve, its later level says why it has none.
    runs = {run.counts: run for run in shown_runs(chain)}
    assert Curves().of(str(chain.store.root), runs[needed.run]).images == 30
    assert (
        "see the row of the cascade" in Curves().of(str(chain.store.root), runs[second[0].run.id]).problems[0]
    )

    models = {run.id: run.model_file.read_bytes() for run in chain.store.runs("models")}
    killed = set()
    for tile in (1, 4):
        monkeypatch.setenv("RSCTL_STORE", str(tmp_path / f"stop-{tile}"))
        again = chain.plan(values(CASCADE))
        for run in chain.store.runs("models"):
            write(run.model_file, models[run.id])
        for task in (*level_of(chain, again)[0], *level_of(chain, again)[1]):
            stopped = chain.work(task, StopsAfter)
            stopped.tiles = tile
            try:
                count.main(stopped)
            except Stopped:
                killed.add(task.key)
                chain.run(task)
        assert arrays(level_of(chain, again)[1][0].run) == whole, tile
    assert killed == {one.key for one in (*first, *second)}


def shown_runs(chain: Chain) -> Any:
    return next(list(sweep.runs) for sweep in Watcher().poll().sweeps if sweep.name == "tiny")


def test_one_class_is_judged_by_the_images_that_were_sampled() -> None:
    labels, many = np.arange(60, dtype=np.int32) % 3, 60
    counts = np.zeros((many, 3), np.int32)
    counts[:3] = 10 * np.eye(3, dtype=np.int32)[labels[:3]]
    rows = Rows(
        index=np.arange(many), label=labels, seconds=np.zeros(many), fingerprint=np.zeros(many, np.int32),
        selection_counts=counts, counts=counts, n=counts.sum(axis=1).astype(np.int64),
    )  # fmt: skip
    assert verdict(rows) is None
    counts[:3] = [10, 0, 0]
    counts[3:] = [10, 0, 0]
    rows.n[:] = 10
    assert verdict(rows) is not None


def test_a_level_that_nothing_is_left_for_has_a_row_for_each_image(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        count, "settled_images", lambda run, images: set(images) if run.count_spec.needed else set()
    )
    committed = chain.run_all(values(CASCADE))
    run = level_of(chain, committed)[1][0].run
    assert (run.path / "counts.h5").exists()
    assert not read_table(run).rows.drawn.any()
    assert len(read_table(run).rows) == 30
    (cascade,) = sweep_results(chain.store, "tiny").cascades
    assert (cascade.images, cascade.degenerate) == (30, None)
    assert (cascade.certified.radius > 0).any()
    assert chain.plan(values(CASCADE)).requests == []


def test_a_row_with_other_numbers_of_draws_is_no_row_of_the_run(chain: Chain) -> None:
    committed = chain.run_all(values(CASCADE, shards=1))
    (task,) = level_of(chain, committed)[1]
    shard = read_shard(task.run.path / "counts.h5")
    check_shard(task.run, task.run.path / "counts.h5", shard)
    assert isinstance(shard.rows, Rows)
    drawn = int(np.flatnonzero(shard.rows.drawn)[0])
    for name, told in (("selection_counts", "n0 = 10"), ("n", "n = 400")):
        changed = replace(shard, rows=shard.rows.take(slice(None)))
        array = getattr(changed.rows, name).copy()
        array[drawn] = 2
        setattr(changed.rows, name, array)
        with pytest.raises(Corrupt, match=told):
            check_shard(task.run, task.run.path / "counts.h5", changed)


def test_a_later_level_is_in_place_of_the_run_that_samples_everything(chain: Chain) -> None:
    def planned(cascade: Any, **further: Any) -> Any:
        sweep = build_sweep({**values(cascade), **further}, "sweep.toml", chain.place.data)
        return make_plan(sweep, "sweep.toml", chain.store)

    plain = planned([])
    one = planned(CASCADE)
    assert len(plain.tables) == len(one.tables) == len(one.entries) == 2
    assert len(set(plain.tables) & set(one.tables)) == 1
    both = planned([CASCADE, {**CASCADE, "order": "all"}])
    assert set(both.tables) == set(plain.tables) | set(one.tables)
    assert len(both.cascades) == 2
    # Another threshold, radius or alpha is another choice of images: another run.
    for change in ({"tau": 0.7}, {"settled_radius": 0.2}):
        assert not (set(planned({**CASCADE, **change}).tables) & set(one.tables)) - set(plain.tables)
    # Cascades that begin alike share nothing but what is the same computation.
    three = planned([CASCADE, {**CASCADE, "levels": [0.5, 0.25]}])
    assert len(three.tables) == 4, "each level is the first of one cascade, and the later of another"
    committed = chain.plan(values(CASCADE))
    entries = chain.store.sweep("tiny")["entries"]
    assert [entry.certificates for entry in entries] == [["cohen"], []]
    assert len(committed.requests) == 6


@pytest.mark.parametrize(
    ("certification", "cascade", "told"),
    [
        ({"arithmetic": "exact"}, {}, "needs certification.arithmetic = 'float'"),
        ({"selection": "clean"}, {}, "needs certification.selection = 'noise'"),
        ({}, {"order": "all", "settled_radius": 0.5}, 'settled_radius is for order = "as-needed"'),
        ({}, {"order": "never"}, "cascade.0.order"),
    ],
)
def test_what_cannot_be_sampled_as_needed_is_refused_before(
    chain: Chain, certification: Any, cascade: Any, told: str
) -> None:
    with pytest.raises(Invalid) as invalid:
        chain.plan(values({**CASCADE, **cascade}, **certification))
    assert told in str(invalid.value)


def test_tasks_wait_for_the_tasks_that_sample_their_images_before(chain: Chain) -> None:
    committed = chain.plan(values(CASCADE))
    first, second = level_of(chain, committed)
    requests = {one.task.key: one for one in committed.requests}
    for before, after in zip(first, second, strict=True):
        assert before.run.images(before.number) == after.run.images(after.number)
        needs = [need.key for need in requests[after.key].needs]
        assert needs == [f"models/{after.run.count_spec.model_run}/0", before.key]
    # One array per level: the later one depends on the tasks of the earlier one, and on its model.
    jobs = make_arrays(committed.requests, 100)
    assert [len(one.requests) for one in jobs] == [2, 2, 2]
    assert set(jobs[-1].needs) == {
        f"models/{second[0].run.count_spec.model_run}/0",
        *(one.key for one in first),
    }
    assert _with_needs(second[:1]) == {
        second[0].key,
        first[0].key,
        *(f"models/{run.id}/0" for run in chain.store.runs("models")),
    }
    for request in committed.requests[:2]:
        chain.run(request.task)
    chain.run(first[0])
    jobs = make_arrays([requests[one.key] for one in second], 100)
    assert [(one.needs, len(one.requests)) for one in jobs] == [((), 1), ((first[1].key,), 1)]
    assert [one.is_done for one in first] == [True, False]
    backend, queue = LocalBackend("local", LocalProfile(), chain.store), own_queue(chain.store)
    for task in second:
        assert queue.add(requests[task.key])
    seen = backend.poll(second)
    assert [seen[task.key].reason for task in second][1] == f"waits for {first[1].key}"
    assert seen[second[0].key].state == State.QUEUED


def test_three_levels_and_a_radius_of_interest(chain: Chain) -> None:
    raw = values({**CASCADE, "levels": [0.12, 0.25, 0.5], "settled_radius": 0.05}, shards=1, n=200)
    raw["grid"] = {"sigma": [0.12, 0.25, 0.5]}
    chain.run_all(raw)
    (cascade,) = sweep_results(chain.store, "tiny").cascades
    share, tables = (
        0.001 / bounds_of(3),
        [read_table(chain.store.run("counts", one.run)) for one in cascade.levels],
    )
    left = np.zeros(30, bool)
    for number, table in enumerate(tables):
        assert np.array_equal(table.rows.drawn, ~left)
        if number < 2:
            left |= deciding_radius(table.counts(), 0.6, share) >= 0.05
    by_hand = Cascade((0.12, 0.25, 0.5), (0.6, 0.6)).certify([one.counts() for one in tables], 0.001)
    assert np.array_equal(by_hand.radius, cascade.certified.radius)
    run = tables[2].run
    assert settled_images(run, run.images(0)) == set(tables[2].rows.index[left].tolist())
    assert run.count_spec.needed is not None
    assert run.count_spec.needed.levels == [table.run.count_spec.hash for table in tables[:2]]


def test_a_later_level_is_cancelled_where_the_one_before_will_not_be_sampled(chain: Chain) -> None:
    committed = chain.plan(values(CASCADE, shards=1))
    (before,), (after,) = level_of(chain, committed)
    for request in committed.requests:
        if not request.task.run.kind.is_table:
            chain.run(request.task)
    queue = own_queue(chain.store)
    queue.add(next(one for one in committed.requests if one.task == after))
    assert not QueueProcess(queue, LocalProfile()).tick()
    assert (
        queue.endings()[after.key]["reason"]
        == f"the task {before.key} that it needs will not be run (not submitted)"
    )
    queue.add(next(one for one in committed.requests if one.task == after))
    Claim.take(before.run, before.number, here()).end("failed", "by the test")
    assert not QueueProcess(queue, LocalProfile()).tick()
    assert queue.endings()[after.key]["reason"] == f"the task {before.key} that it needs failed: by the test"
