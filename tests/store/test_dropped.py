"""Tasks that no sweep wants any more: seen wherever tasks are shown, and stopped when told to."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from chain import Chain, tiny, wait_until

from rsctl.cli.app import run as main
from rsctl.cluster import dropped, status
from rsctl.cluster.control import submit, sweep_statuses
from rsctl.cluster.local.requests import own_queue
from rsctl.cluster.retry import retry
from rsctl.cluster.slurm.commands import QueueView
from rsctl.cluster.slurm.submissions import Submission, list_tasks
from rsctl.cluster.status import status_values
from rsctl.errors import InputError, RefusedError
from rsctl.plan.tasks import Task
from rsctl.store.attempts import Claim, State, attempt_numbers, here
from rsctl.store.layout import Store
from rsctl.store.records import skipped_records
from rsctl.tui import watch

TWO = tiny(grid={"sigma": [0.25, 0.5]})
del TWO["sigma"]
ONE = tiny(sigma=0.5)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that takes requests and starts nothing."""
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)


def keys(found: list[Any]) -> set[str]:
    return {status.task.key for status in found}


def test_what_an_update_drops_is_named_and_stays_seen_until_it_is_stopped(chain: Chain, asleep: None) -> None:
    submit(chain.file(TWO), chain.place)
    both = own_queue(chain.store).wanted().keys()
    done, found = dropped.submit(chain.file(ONE), chain.place, update=True)
    assert keys(found) == {key for key in both if "s0.25" in key}
    assert len(found) == 3
    assert done.added == 0
    assert keys(dropped.dropped_tasks(chain.place)) == keys(found)
    shown = chain.cli("status", "--json")
    assert {f"{task['run']}/{task['task']}" for task in json.loads(shown.out)["dropped"]} == keys(found)
    assert "3 open tasks that no sweep needs; 'rsctl cancel --dropped'" in chain.cli("status", "tiny").out
    assert chain.cli("cancel", "--dropped").out.count("cancelled: ") == 3
    assert not dropped.dropped_tasks(chain.place)
    assert own_queue(chain.store).wanted().keys() == both - keys(found)
    assert "no sweep wants" not in chain.cli("status").out


def test_tasks_that_another_sweep_wants_are_not_dropped(chain: Chain, asleep: None) -> None:
    submit(chain.file(TWO), chain.place)
    submit(chain.file({**ONE, "name": "other", "sigma": 0.25}, "other.toml"), chain.place)
    assert dropped.submit(chain.file(ONE), chain.place, update=True)[1] == []
    assert not dropped.dropped_tasks(chain.place)


def test_tasks_of_images_that_an_update_leaves_out_are_dropped_too(chain: Chain, asleep: None) -> None:
    """The run stays in the sweep, some of its tasks don't."""
    more = {"max_images": 30}
    submit(chain.file(ONE), chain.place)
    submit(chain.file(tiny(sigma=0.5, certification=more)), chain.place, update=True)
    _, found = dropped.submit(chain.file(ONE), chain.place, update=True)
    assert [status.task.number for status in found] == [2, 3]


def test_what_runs_goes_on_until_the_update_is_told_to_stop_it(chain: Chain) -> None:
    """Real processes: seen while they run, gone when stopped, and what they sampled stays."""
    slow = {"n": 400_000, "max_images": 4, "shards": 1}
    assert chain.cli("submit", chain.file(tiny(sigma=0.25, certification=slow))).code == 0
    wait_until(lambda: any(attempt_numbers(run) for run in chain.store.runs("counts")))
    other = chain.cli("submit", chain.file(tiny(sigma=0.5, certification=slow)), "--update")
    assert "1 open task that no sweep needs any more continues" in other.err
    (running,) = dropped.dropped_tasks(chain.place)
    assert (running.task.run.kind, running.state) == ("counts", State.RUNNING)
    third = chain.cli(
        "submit", chain.file(tiny(sigma=0.75, certification=slow)), "--update", "--stop-dropped", "--json"
    )
    assert json.loads(third.out)["dropped"] >= 1
    assert ": stopped" in third.err
    # What the update before dropped is no part of this one.
    assert keys(dropped.dropped_tasks(chain.place)) == {running.task.key}
    assert chain.cli("cancel", "--dropped", "tiny").code == 0
    assert not dropped.dropped_tasks(chain.place)


def test_an_update_that_drops_nothing_says_what_was_dropped_before(chain: Chain, asleep: None) -> None:
    submit(chain.file(TWO), chain.place)
    first = chain.cli("submit", chain.file(ONE), "--update")
    assert "'rsctl cancel --dropped' stops them; --stop-dropped does so" in first.err
    again = chain.cli("submit", chain.file(ONE), "--update", "--stop-dropped")
    assert (
        "drops no open task; 3 tasks dropped by earlier updates are still open. 'rsctl cancel --dropped'"
        in again.err
    )
    assert len(dropped.dropped_tasks(chain.place)) == 3


def test_stop_dropped_alone_is_refused(chain: Chain) -> None:
    done = chain.cli("submit", chain.file(ONE), "--stop-dropped")
    assert done.code == 2
    assert "requires --update" in done.err
    assert "--dropped" in chain.cli("cancel").err


def test_another_sweep_that_is_damaged_ends_nothing_and_hides_nothing(chain: Chain, asleep: None) -> None:
    """The tasks that no sweep wants aren't known then, which is said; nothing passes for unwanted, and nothing else fails."""
    submit(chain.file(TWO), chain.place)
    submit(chain.file({**ONE, "name": "other", "sigma": 0.25}, "other.toml"), chain.place)
    plan = chain.store.sweep_folder("other") / "plan.json"
    values = json.loads(plan.read_text())
    (run,) = [run for run in chain.store.runs("counts") if "s0.5" in run.id]
    entries: list[Any] = [5, {"a": 1}, [5], [[]], [{}]]
    entries += [[{**values["entries"][0], key: bad}] for key, bad in [("tasks", 5), ("tasks", ["0"]), ("parents", None), ("kind", "x")]]  # fmt: skip
    for bad in entries:
        plan.write_text(json.dumps({**values, "entries": bad}))
        with pytest.raises(InputError, match="it was edited"):
            chain.store.sweep("other")
        with pytest.raises(InputError, match="can't tell which tasks no sweep needs, because sweep 'other'"):
            dropped.dropped_tasks(chain.place)
        shown = status_values(chain.place, "tiny")
        assert shown["sweeps"][0]["states"] == {"queued": 2, "waiting": 4}
        assert any("sweep 'other' can't be read" in notice for notice in shown["notices"])
        assert retry(chain.place, run.id) == ([], "")
    plan.write_text("{")
    assert "can't tell which tasks no sweep needs" in chain.cli("status", "tiny").out
    done, found = dropped.submit(chain.file(ONE), chain.place, update=True)
    assert not found
    assert any("can't tell which tasks no sweep needs" in note for note in done.committed.notes)
    assert chain.cli("cancel", "--dropped").code == 2


def test_what_is_submitted_while_one_looks_is_not_dropped(
    chain: Chain, asleep: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that comes before one reads what is held comes before one reads what is wanted: of two looks that one is the first."""
    submit(chain.file(ONE), chain.place)
    levels = iter((0.25, 0.75, 1.0, 1.25))

    def read(store: Store) -> set[str]:
        level = next(levels)
        submit(chain.file({**ONE, "name": f"late-{level}", "sigma": level}, "late.toml"), chain.place)
        return held(store)

    held = dropped.held_keys
    for module in (status, watch, dropped):
        monkeypatch.setattr(module, "held_keys", read)
    assert not status_values(chain.place)["dropped"]
    assert not status_values(chain.place, "tiny")["dropped"]
    assert not dropped.dropped_tasks(chain.place)
    assert not watch.Watcher().poll().dropped
    assert next(levels, None) is None


def test_the_dashboard_lists_them_beside_a_damaged_run_but_not_beside_a_damaged_plan(
    chain: Chain, asleep: None
) -> None:
    """It is known which tasks of a run that can't be read are wanted; of a plan that can't be read nothing is known."""
    submit(chain.file(TWO), chain.place)
    submit(chain.file(ONE), chain.place, update=True)
    (run,) = [run for run in chain.store.runs("counts") if "s0.5" in run.id]
    (run.path / "spec.json").write_text("{")
    seen = watch.Watcher().poll()
    assert seen.problems
    assert len(seen.dropped) == 3
    (chain.store.sweep_folder("tiny") / "plan.json").write_text("{")
    assert not watch.Watcher().poll().dropped


def test_damaged_lists_of_tasks_and_strange_processes_are_passed_over(
    chain: Chain, asleep: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(chain.file(ONE), chain.place)
    (run,) = chain.store.runs("counts")
    (chain.store.root / "models" / "notes.txt").write_text("a file among runs")
    (chain.store.root / "queue" / "notes.txt").write_text("a file among queues")
    known = {"tasks": [f"counts/{run.id}/7", "a/b/c", "counts/../0", 1, [2], None]}
    for number, listed in enumerate(
        [known, [], 5, None, "x", *({"tasks": bad} for bad in (5, None, {"a": 1}))]
    ):
        folder = chain.store.root / "submissions" / str(number)
        folder.mkdir(parents=True)
        (folder / "tasks.json").write_text(json.dumps(listed))
    strange = {f"counts/{run.id}/zero": (1, "0"), "imports/x/0": (1, "0")}
    monkeypatch.setattr(dropped, "task_processes", lambda _: strange)
    assert not dropped.dropped_tasks(chain.place)
    queued = own_queue(chain.store).wanted().keys()
    assert dropped.held_keys(chain.store) == {*queued, f"counts/{run.id}/7"}


def test_what_cannot_be_reached_from_here_is_not_called_stopped(
    chain: Chain, asleep: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A claim of a machine whose processes nobody here can see."""
    submit(chain.file(TWO), chain.place)
    (run,) = [run for run in chain.store.runs("counts") if "s0.25" in run.id]
    Claim.take(run, 1, {**here(), "host": "elsewhere", "boot": "elsewhere"})
    own_queue(chain.store).finish(f"counts/{run.id}/1")
    folder = chain.store.root / "submissions" / "one"
    list_tasks(folder, [f"counts/{run.id}/1"])
    assert main(["submit", str(chain.file(ONE)), "--update", "--stop-dropped"]) == 0
    said = capsys.readouterr().err
    assert said.count(": stopped") == 2
    assert f"dropped: {run.id} task 1: not stopped: claimed on elsewhere" in said
    assert main(["cancel", "--dropped"]) == 0
    again = capsys.readouterr()
    assert again.out == "no task was cancelled\n"
    assert f"not stopped: {run.id} task 1: claimed on elsewhere" in again.err


def test_what_another_user_handed_to_slurm_is_open_until_its_files_say_that_it_ended(
    chain: Chain, asleep: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(chain.file(ONE), chain.place)
    (run,) = chain.store.runs("counts")
    monkeypatch.setattr("rsctl.cluster.slurm.backend.WATCH.poll", lambda _: QueueView({}, {}, 0, 0.0))
    folder = chain.store.root / "submissions" / "theirs"
    theirs = Submission(
        "theirs", "slurm", "c", os.getuid() + 1, 0.0, str(folder), {5: 0, 6: 1, 7: 2}, True, "9"
    )
    theirs.write(run)
    list_tasks(folder, [f"counts/{run.id}/{number}" for number in (5, 6, 7)])
    assert [one.state for one in dropped.dropped_tasks(chain.place)] == [State.UNKNOWN] * 3
    theirs.note_cancelled(run, [6])
    Claim.take(run, 7, {**here(), "submission": "theirs"}).end("failed", "by the test")
    (left,) = dropped.dropped_tasks(chain.place)
    assert left.task.number == 5
    assert "whose jobs SLURM doesn't show you" in left.reason
    assert dropped.stop(chain.place, [left]) == [left]


# ---------------------------------------------------------------- one run, one task


def fail(task: Task) -> None:
    Claim.take(task.run, task.number, here()).end("failed", "by the test")


def failed_sweep(chain: Chain) -> list[Task]:
    """All tasks of both runs have failed, the trainings among them."""
    submit(chain.file(TWO), chain.place)
    queue = own_queue(chain.store)
    tasks = [status.task for status in sweep_statuses(chain.place, "tiny").values()]
    for task in tasks:
        fail(task)
        queue.finish(task.key)
    return tasks


def test_a_run_or_a_task_is_retried_alone_with_the_training_that_it_needs(chain: Chain, asleep: None) -> None:
    tasks = failed_sweep(chain)
    assert len(tasks) == 6
    (table,) = {task.run for task in tasks if task.run.kind == "counts" and "s0.25" in task.run.id}
    model = Task(Store(chain.place.store).run("models", table.count_spec.model_run), 0)
    started, note = retry(chain.place, f"{table.id}/1")
    assert {task.key for task in started} == {model.key, f"counts/{table.id}/1"}
    assert not note
    assert own_queue(chain.store).wanted().keys() == {model.key, f"counts/{table.id}/1"}
    told = chain.cli("retry", f"counts/{table.id}", "0")
    assert told.out == f"restarted: {table.id} task 0\n"
    assert chain.cli("retry", "tiny").out.count("restarted: ") == 3
    assert chain.cli("retry", table.id).out == "no task was restarted\n"


def test_of_several_sweeps_the_one_that_wants_all_of_a_run_retries_it(chain: Chain, asleep: None) -> None:
    submit(chain.file(ONE), chain.place)
    (run,) = chain.store.runs("counts")
    submit(chain.file(tiny(sigma=0.5, name="all", certification={"max_images": 30}), "all.toml"), chain.place)
    submit(chain.file(ONE), chain.place)
    assert chain.store.sweep_names() == ["tiny", "all"]
    for task in chain_tasks(chain, "all"):
        fail(task)
        own_queue(chain.store).finish(task.key)
    assert len(chain_tasks(chain, "tiny")) < len(chain_tasks(chain, "all"))
    assert len(retry(chain.place, run.id)[0]) == len(chain_tasks(chain, "all"))


def chain_tasks(chain: Chain, sweep: str) -> list[Task]:
    return [one.task for one in sweep_statuses(chain.place, sweep).values()]


def test_a_run_that_no_sweep_wants_is_not_retried(chain: Chain, asleep: None) -> None:
    tasks = failed_sweep(chain)
    submit(chain.file(ONE), chain.place, update=True)
    (run,) = {task.run.id for task in tasks if task.run.kind == "counts" and "s0.25" in task.run.id}
    with pytest.raises(RefusedError, match="no sweep needs it"):
        retry(chain.place, run)
    assert chain.cli("retry", run).code == 2
    assert chain.cli("retry", "nothing").code == 2


# ---------------------------------------------------------------- progress that goes back


def test_progress_that_goes_back_says_what_is_done_again(chain: Chain) -> None:
    committed = chain.plan(ONE)
    (training, table, *_) = committed.requests
    for task, unit, before, now in ((training.task, "steps", 40, 25), (table.task, "images", 3.5, 3.0)):
        lost = Claim.take(task.run, task.number, here())
        lost.write("progress", done=before, total=100, unit=unit, rate=1.0)
        lost.end("stopped", "its node was lost")
        Claim.take(task.run, task.number, here()).write("progress", done=now, total=100, unit=unit, rate=1.0)
    found = sweep_statuses(chain.place, "tiny")
    assert found[training.task.key].reason == "15 steps being redone: attempt 1 hadn't saved them"
    assert found[table.task.key].reason == "125 draws being redone: attempt 1 hadn't saved them"
    said = chain.cli("status").out
    assert "2 redoing lost work" in said
    Claim.take(table.task.run, table.task.number, here()).write(
        "progress", done=4.0, total=100, unit="images", rate=1.0
    )
    assert sweep_statuses(chain.place, "tiny")[table.task.key].reason == ""


def test_progress_of_a_damaged_run_is_told_as_far_as_it_can_be(chain: Chain) -> None:
    (_, table, *_) = chain.plan(ONE).requests
    Claim.take(table.task.run, table.task.number, here()).write("progress", done=3, total=10, unit="images")
    again = Claim.take(table.task.run, table.task.number, here())
    again.write("progress", done="x", total=None, unit=5, rate=[])
    (table.task.run.path / "spec.json").write_text("{")
    found = sweep_statuses(chain.place, "tiny")[table.task.key]
    assert (found.reason, found.done, found.total, found.rate) == ("", 0, 0, 0)
    assert any(f"{again.file}: '" in told for told in skipped_records())  # named, and left out
    again.write("progress", done=1, total=10, unit="images")
    found = sweep_statuses(chain.place, "tiny")[table.task.key]
    assert found.reason == "2 images being redone: attempt 1 hadn't saved them"
