"""Two users of one store: nobody runs what another wrote, and a group works together."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from chain import Chain, tiny, wait_until
from persons import GROUP, Person
from persons import persons as persons

from rsctl.catalog import known_methods, plugin_problems, use_plugins
from rsctl.catalog.plugin_packages import load
from rsctl.cluster import doctor
from rsctl.cluster.control import submit, sweep_statuses
from rsctl.cluster.local.backend import LocalBackend
from rsctl.cluster.local.queue import QueueProcess
from rsctl.cluster.local.requests import Queue, own_queue
from rsctl.cluster.retry import retry
from rsctl.cluster.slurm.sbatch import OWN_FOLDER
from rsctl.config.settings import LocalProfile, load_settings
from rsctl.config.sweep import build_sweep
from rsctl.errors import InputError, RefusedError, UserError
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.store.attempts import Claim, here, latest_attempt, process_start
from rsctl.store.files import open_log, publish, replace
from rsctl.store.layout import Store
from rsctl.store.provenance import verify_code
from rsctl.store.trust import check_task

STRANGER = 60952
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def touched(path: Path) -> Path:
    if not path.exists():
        publish(path, b"{}")
    return path


def give(path: Path, user: int, group: int) -> None:
    os.chown(path, user, group, follow_symlinks=False)


@AS_ROOT
def test_every_file_that_leads_to_a_run_is_refused_if_it_is_somebody_elses(chain: Chain) -> None:
    committed = chain.plan(tiny())
    root = chain.store.root
    task = next(request.task for request in committed.requests if request.task.run.kind == "counts")
    (model,) = chain.store.runs("models")
    (code,) = os.listdir(root / "code")

    def check(*, group: bool) -> None:
        check_task(task.run, task.number, group=group)
        verify_code(root, code, (), group=group)

    number = f"{task.number:04d}"
    files = [
        task.run.path, task.run.path / "spec.json", task.run.path / "launch.json", task.run.task_file(task.number),
        touched(task.run.tasks_folder / f"{number}.1.jsonl"), touched(task.run.shards_folder / f"{number}.1.h5"),
        touched(task.run.path / "counts.h5"), touched(task.run.log_file(task.number)), model.path,
        model.path / "spec.json", touched(model.model_file), touched(model.checkpoint_file), touched(model.published_file),
        root / "code" / code, root / "code" / code / "jobs" / "certify" / "count.py", root / "code" / code / "rsctl" / "store",
    ]  # fmt: skip
    os.chown(root, 0, GROUP)
    check(group=False)
    for file in files:
        give(file, STRANGER, GROUP)
        with pytest.raises(RefusedError, match=f"{file} belongs to user {STRANGER}.*store_mode"):
            check(group=False)
        check(group=True)
        give(file, STRANGER, STRANGER)
        with pytest.raises(RefusedError, match=rf"its group is {STRANGER}, not the store's, {GROUP}.*chgrp"):
            check(group=True)
        give(file, STRANGER, GROUP)
        for opened in (file, root):
            mode = opened.stat().st_mode
            opened.chmod(mode | 0o002)
            with pytest.raises(RefusedError, match=f"everybody can write to .*chmod o-w {opened}"):
                check(group=True)
            opened.chmod(mode)
        give(file, 0, GROUP)
    # A link counts by who made it, and by what it leads to.
    elsewhere = chain.folder / "elsewhere.pt"
    elsewhere.write_bytes(b"")
    model.model_file.unlink()
    model.model_file.symlink_to(elsewhere)
    check(group=False)
    for file in (model.model_file, elsewhere):
        give(file, STRANGER, GROUP)
        with pytest.raises(RefusedError, match="belongs to user"):
            check(group=False)
        give(file, 0, GROUP)
    check(group=False)


@AS_ROOT
def test_submit_and_retry_refuse_a_strangers_plan_and_store(chain: Chain) -> None:
    file = chain.file(tiny())
    chain.plan(tiny())
    for path in (
        chain.store.sweep_folder("tiny") / "plan.json",
        next(chain.store.runs("models")).path / "spec.json",
    ):
        give(path, STRANGER, STRANGER)
        with pytest.raises(RefusedError, match=f"{path} belongs to user {STRANGER}"):
            submit(file, chain.place)
        with pytest.raises(RefusedError, match=f"{path} belongs to user {STRANGER}"):
            retry(chain.place, "tiny")
        give(path, 0, 0)
    give(chain.store.root, STRANGER, STRANGER)
    with pytest.raises(RefusedError, match=f"{chain.store.root} belongs to user {STRANGER}"):
        submit(file, chain.place)
    # Looking at it is another matter.
    assert len(sweep_statuses(chain.place, "tiny")) == 3


@AS_ROOT
def test_a_group_is_trusted_only_where_the_profile_says_so(chain: Chain) -> None:
    (chain.folder / "rsctl.toml").write_text(
        'store = "store"\ndata = "data"\n[profiles.two]\nstore_mode = "group"\n'
    )
    chain.plan(tiny())
    os.chown(chain.store.root, 0, GROUP)
    give(chain.store.sweep_folder("tiny") / "plan.json", STRANGER, GROUP)
    sweep = build_sweep(tiny(), "sweep.toml", chain.place.data)
    with pytest.raises(RefusedError, match="store_mode"):
        commit(make_plan(sweep, "sweep.toml"), chain.place, update=False)
    sweep = dataclasses.replace(sweep, cluster="two")
    notes = commit(make_plan(sweep, "sweep.toml"), chain.place, update=False).notes
    assert any("chmod g+ws" in note for note in notes)
    assert any("chmod g+ws" in finding.text for finding in doctor.examine(chain.place))


@AS_ROOT
def test_what_others_claim_is_no_reason_to_signal_a_process(chain: Chain) -> None:
    """A stranger's claim names a process of this user: neither queue nor cancel take it for a task."""
    committed = chain.plan(tiny())
    request = committed.requests[0]
    precious = subprocess.Popen(["sleep", "100"])
    try:
        claim = Claim.take(
            request.task.run, 0, {**here(), "pid": precious.pid, "start": process_start(precious.pid)}
        )
        queue = own_queue(chain.store)
        queue.add(request)
        process = QueueProcess(queue, LocalProfile())
        process.tick()
        assert process.running[request.task.key].pid == precious.pid
        give(claim.file, STRANGER, 0)
        process = QueueProcess(queue, LocalProfile())
        process.tick()
        assert not process.running
        assert "belongs to user" in queue.endings()[request.task.key]["reason"]
        queue.add(request)
        process = QueueProcess(queue, LocalProfile(store_mode="group"))
        assert process.tick()
        assert not process.running
        assert LocalBackend("local", LocalProfile(), chain.store).cancel([request.task]) == 0
        assert precious.poll() is None
    finally:
        precious.kill()
        precious.wait()


@AS_ROOT
def test_requests_are_taken_from_their_own_user_alone(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    committed = chain.plan(tiny())
    mine, key = own_queue(chain.store), committed.requests[0].task.key
    mine.add(committed.requests[0])
    assert list(mine.wanted()) == [key]
    give(mine.request_file(key), STRANGER, 0)
    assert not mine.wanted()
    assert mine.unreadable() == [mine.request_file(key)]
    # What they ask for themselves keeps this user from it in the store of a group only.
    theirs = Queue(chain.store, mine.host, STRANGER).request_file(key)
    replace(theirs, mine.request_file(key).read_bytes())
    mine.request_file(key).unlink()
    give(theirs, STRANGER, 0)
    for mode, added in (("group", 0), ("private", 1)):
        backend = LocalBackend("local", LocalProfile(store_mode=mode), chain.store)
        assert backend.submit(committed.requests[:1]).added == added


@AS_ROOT
def test_a_queue_folder_that_somebody_else_made_is_refused(chain: Chain) -> None:
    folder = own_queue(chain.store).folder
    folder.mkdir(parents=True)
    give(folder, STRANGER, STRANGER)
    with pytest.raises(RefusedError, match=f"{folder} belongs to user {STRANGER}"):
        submit(chain.file(tiny()), chain.place)


def test_requests_of_an_older_version_are_taken_over(chain: Chain) -> None:
    committed = chain.plan(tiny())
    mine = own_queue(chain.store)
    older = Queue(chain.store, mine.host)
    older.add(committed.requests[0])
    assert (chain.store.root / "queue" / mine.host / "requests").is_dir()
    mine.take_over()
    assert list(mine.wanted()) == [committed.requests[0].task.key]
    assert not older.wanted()


@AS_ROOT
def test_a_batch_script_stops_before_it_unpickles_what_another_user_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    pickle = touched(folder / "1_submitted.pkl")

    def run() -> subprocess.CompletedProcess[str]:
        line = OWN_FOLDER.format(folder=shlex.quote(str(folder)))
        return subprocess.run(["bash", "-c", f"{line}\necho went on"], capture_output=True, text=True)

    assert run().stdout == "went on\n"
    for file in (pickle, folder):
        give(file, STRANGER, 0)
        assert (run().returncode, run().stdout) == (1, "")
        assert f"error: {file} belongs to another user" in run().stderr
        give(file, 0, 0)
    pickle.unlink()
    assert run().stdout == "went on\n"


@AS_ROOT
def test_settings_of_others_in_the_current_folder_run_nothing(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RSCTL_CONFIG")
    file = chain.folder / "rsctl.toml"
    for text, key in {
        'plugins = ["somebody"]': "plugins", '[profiles.a]\nbackend = "slurm"\nsetup = ["rm x"]': "setup",
        '[profiles.a]\nbackend = "slurm"\npython = "/x"': "python",
    }.items():  # fmt: skip
        file.write_text(text)
        give(file, STRANGER, 0)
        with pytest.raises(InputError, match=f"'{key}' would run code as you"):
            load_settings()
    file.write_text('store = "store"')
    load_settings()


@AS_ROOT
def test_a_plugin_of_somebody_else_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, mark = tmp_path / "of_a_stranger.py", tmp_path / "imported"
    plugin.write_text(f"open({str(mark)!r}, 'w')\nMETHODS = ()\n")
    monkeypatch.syspath_prepend(tmp_path)
    give(plugin, STRANGER, 0)
    use_plugins(["of_a_stranger"])
    try:
        (problem,) = plugin_problems()
        assert f"{plugin} belongs to user {STRANGER}" in problem
        assert not mark.exists()
        give(plugin, 0, 0)
        load.cache_clear()
        use_plugins(["of_a_stranger"])
        known_methods()
        assert mark.exists()
    finally:
        use_plugins([])


def test_files_follow_the_umask_and_logs_follow_no_links(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o077)
    try:
        log = chain.plan(tiny()).requests[0].task.run.log_file(0)
        log.parent.mkdir()
        log.symlink_to(chain.folder / "bashrc")
        with pytest.raises(UserError, match="is a symbolic link"):
            open_log(log)
        log.unlink()
    finally:
        os.umask(before)
    everything = [chain.store.root, *chain.store.root.rglob("*")]
    assert [path for path in everything if path.stat().st_mode & 0o077] == []


def plan(person: Person, file: Path, *, update: bool = False, of: str = "") -> int:
    """Have somebody submit a sweep file, and nothing started; returns how many tasks went to their queue. `of` names its owner."""
    code = (
        "import sys, pathlib\nfrom rsctl.cluster import control\nfrom rsctl.cluster.local import backend\nfrom rsctl.config.settings import load_settings\n"
        "backend.start_detached = lambda *_: None\n"
        f"print(control.submit(pathlib.Path(sys.argv[1]), load_settings(), update={update}, of=[{of!r}]).added)"
    )
    done = person.run(sys.executable, "-c", code, file)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


ATTACK = r"""
import pathlib, shutil, sys
from rsctl.store.files import replace, to_json
from rsctl.store.provenance import _digest, _package_sources
store, mark, mine, host = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
(code,) = (store / "code").iterdir()
evil = store / "code" / "making"
shutil.copytree(code, evil)
for name in ("rsctl/cluster/task.py", "jobs/training/train.py"):
    (evil / name).chmod(0o644)
    (evil / name).write_text(f"open({mark!r}, 'a').write('code')\n" + (evil / name).read_text())
name = _digest([pair for package in ("rsctl", "jobs") for pair in _package_sources(package, evil / package)])
evil.rename(evil.with_name(name))
(model,) = (store / "models").iterdir()
key = f"models/{model.name}/0"
request = {"task": key, "needs": [], "threads": 1, "gpus": 0, "code": name, "after": 0, "submitted": 1}
for folder in (mine, host):
    try:
        replace(store / "queue" / folder / "requests" / (key.replace("/", "~") + ".json"), to_json(request))
    except Exception as error:
        print(folder, error)
for folder in (store, store / "queue", store / "queue" / host, model, model / "tasks", store / "code"):
    (folder / "socket.py").write_text(f"open({mark!r}, 'a').write('module')\n")
"""
"""What a member of the group does to a store that isn't the group's: code under its right hash, requests for it, modules to import."""


def test_nothing_of_a_stranger_runs_though_they_can_write_to_the_store(
    persons: tuple[Person, Person],
) -> None:
    victim, attacker = persons
    store, mark = Store(victim.folder / "shared" / "runs"), victim.folder / "marks" / "mark"
    mark.parent.mkdir(mode=0o777)
    mark.parent.chmod(0o777)
    victim.settings(store.root)
    queue = Queue(store, own_queue(store).host, victim.user)
    file = victim.sweep()
    # Planned, and nothing started: the attacker is first.
    assert plan(victim, file) == 3
    requested = sorted(queue.requests.iterdir())
    said = attacker.run(sys.executable, "-c", ATTACK, store.root, mark, queue.folder.name, queue.host)
    assert said.returncode == 0, said.stderr
    assert "permission is denied" in said.stdout
    assert sorted(queue.requests.iterdir()) == requested
    assert (store.root / "queue" / queue.host / "socket.py").exists()
    (model,) = store.runs("models")
    assert victim.cli("submit", file).code == 0
    wait_until(lambda: (attempt := latest_attempt(model, 0)) and attempt.ended)
    assert latest_attempt(model, 0).ended == "done"
    assert not mark.exists()
    assert model.model_file.stat().st_uid == victim.user


def test_a_group_shares_a_store_and_everybody_has_their_own_queue(persons: tuple[Person, Person]) -> None:
    one, other = persons
    store = Store(one.folder / "shared" / "runs")
    for person in persons:
        person.settings(store.root, 'store_mode = "group"')
    assert plan(one, one.sweep()) == 3
    assert plan(other, other.sweep()) == 0
    assert plan(other, other.sweep(certification={"max_images": 24}), update=True, of=str(one.user)) == 2
    queues = [Queue(store, own_queue(store).host, person.user) for person in persons]
    assert [len(queue.wanted()) for queue in queues] == [3, 2]
    (counts,) = store.runs("counts")
    data = [
        json.loads((counts.path / name).read_text())["data"]
        for name in ("launch.json", f"launch-{other.user}.json")
    ]
    assert data == [f"{person.home}/data" for person in persons]
    done = one.cli("cancel", "tiny")
    assert done.out.count("cancelled: ") == 3
    assert done.err.count(f"user {other.user} submitted it, and only they can cancel it") == 2
    assert [len(queue.wanted()) for queue in queues] == [0, 2]
    for path in store.root.rglob("*"):
        assert path.stat().st_gid == GROUP, path
        others = 0o020 if path.relative_to(store.root).parts[0] not in ("queue", "code") else 0
        assert path.is_file() or others == 0 or path.stat().st_mode & 0o2020 == 0o2020, path
        assert path.stat().st_mode & others == others, path


@pytest.mark.long
def test_a_group_works_in_one_store_and_everybody_runs_their_own(persons: tuple[Person, Person]) -> None:
    one, other = persons
    store = Store(one.folder / "shared" / "runs")
    for person in persons:
        person.settings(store.root, 'store_mode = "group"')
    slow = {"n": 2_000_000, "max_images": 2, "shards": 1}
    one.cli("submit", one.sweep(certification=slow))
    (counts,) = store.runs("counts")
    wait_until(lambda: (attempt := latest_attempt(counts, 0)) and attempt.progress)
    # The other sees it, leaves it alone, and can't stop it.
    done = other.cli("submit", other.sweep(certification=slow))
    assert "0 submitted, 1 already under way" in done.err, done
    assert "no task was cancelled" in other.cli("cancel", "tiny").out
    done = other.cli(
        "submit", other.sweep(certification={**slow, "max_images": 4}), "--update", "--of", str(one.user)
    )
    assert "1 submitted" in done.err, done
    wait_until(lambda: (attempt := latest_attempt(counts, 1)) and attempt.progress)
    assert [latest_attempt(counts, n).claim["user"] for n in (0, 1)] == [one.user, other.user]
    assert [latest_attempt(counts, n).number for n in (0, 1)] == [1, 1]
    assert "task 1" in other.cli("cancel", "tiny").out
    assert "task 0" in one.cli("cancel", "tiny").out
    # What one has begun, the other can finish.
    again = json.loads(
        other.cli("submit", other.home / "sweep.toml", "--update", "--of", str(one.user), "--json").out
    )
    assert again["started"] == 2
    wait_until(lambda: latest_attempt(counts, 0).number == 2 and latest_attempt(counts, 0).progress)
    assert latest_attempt(counts, 0).claim["user"] == other.user
