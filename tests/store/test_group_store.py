"""A store that a group shares: open to its members whatever their umask, and changed by others only on purpose."""

from __future__ import annotations

import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chain import Chain, Finished, tiny, wait_until
from persons import GROUP, Person
from persons import persons as persons

from rsctl.cli.app import run as cli
from rsctl.cluster import control, retry
from rsctl.cluster.prune import leftovers
from rsctl.cluster.slurm.submissions import Submission, list_tasks
from rsctl.cluster.status import status_text, status_values
from rsctl.config.settings import LocalProfile, load_settings
from rsctl.errors import RefusedError
from rsctl.owners import share_with_group
from rsctl.store.attempts import latest_attempt
from rsctl.store.damage import Damage
from rsctl.store.files import make_folder, open_log, publish, publish_all, replace
from rsctl.store.layout import Store
from rsctl.store.sharing import closed_to_group, owner_of_sweep

STRANGER = 60952
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
SHARED = 'store_mode = "group"'
QUIET = """
import sys
from rsctl.cluster.local import backend
from rsctl.cli.app import run
backend.start_detached = lambda *_: None
sys.exit(run(sys.argv[1:]))
"""
"""The command line, with a queue that takes requests and starts nothing."""


def give(path: Path, user: int, group: int) -> None:
    os.chown(path, user, group, follow_symlinks=False)


def quiet(person: Person, *arguments: str | Path) -> Finished:
    done = person.run(sys.executable, "-c", QUIET, *arguments)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def secretive(person: Person) -> Person:
    """The same person with a umask that keeps everything to themselves."""
    return Person(person.user, person.folder, umask=0o077)


@pytest.fixture
def members(persons: tuple[Person, Person]) -> tuple[Person, Person, Store]:
    one, other = map(secretive, persons)
    store = Store(one.folder / "shared" / "runs")
    for person in (one, other):
        person.settings(store.root, shared=SHARED)
    return one, other, store


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_what_is_created_is_as_open_to_the_group_as_its_folder(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    before = os.umask(0o077)
    share_with_group(True)
    try:
        replace(shared / "a" / "b" / "replaced.json", b"1")
        replace(shared / "a" / "b" / "replaced.json", b"2")
        publish(shared / "a" / "published.json", b"")
        open_log(shared / "a" / "logs" / "0.log").close()
        make_folder(shared / "own" / "mine", 0o755)
        publish(shared / "own" / "mine" / "request.json", b"")
        publish(shared / "copy.pt", b"", 0o600)
        (tmp_path / "elsewhere").mkdir()
        publish(tmp_path / "elsewhere" / "file", b"")
        share_with_group(False)
        publish(shared / "private.json", b"")
    finally:
        share_with_group(False)
        os.umask(before)
    assert modes(shared) == {
        "a": 0o2770, "a/b": 0o2770, "a/b/replaced.json": 0o660, "a/published.json": 0o660, "a/logs": 0o2770, "a/logs/0.log": 0o660,
        "own": 0o2770, "own/mine": 0o2750, "own/mine/request.json": 0o640, "copy.pt": 0o600, "private.json": 0o600,
    }  # fmt: skip
    assert modes(tmp_path / "elsewhere") == {"file": 0o600}


def test_a_folder_is_open_before_others_write_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers at the same time make the folder that all of them write to."""
    tmp_path.chmod(0o2770)
    appeared: list[int] = []

    def rename(made: Path, folder: Path) -> None:
        appeared.append(stat.S_IMODE(made.stat().st_mode))
        rename_for_real(made, folder)

    rename_for_real = os.rename
    monkeypatch.setattr(os, "rename", rename)
    before = os.umask(0o077)
    share_with_group(True)
    try:
        for round_ in range(30):
            publish_all(tmp_path / str(round_) / "tasks", {f"{n}.json": b"{}" for n in range(16)})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: publish(tmp_path / "many" / f"{n % 9}" / f"{n}.json", b""), range(200)))
    finally:
        share_with_group(False)
        os.umask(before)
    found = modes(tmp_path)
    assert set(appeared) == {0o2770}
    assert len(found) > 30 * 16 + 200
    assert {mode for path, mode in found.items() if path.endswith(".json")} == {0o660}
    assert {mode for path, mode in found.items() if not path.endswith(".json")} == {0o2770}


def test_one_key_makes_every_profile_the_groups(chain: Chain) -> None:
    file = chain.folder / "rsctl.toml"
    file.write_text(f'{SHARED}\n[profiles.big]\nbackend = "slurm"\n[profiles.own]\nstore_mode = "private"\n')
    settings = load_settings().settings
    share_with_group(False)
    assert {name: profile.of_group for name, profile in settings.everywhere.items()} == {
        "local": True, "slurm": True, "big": True, "own": False,
    }  # fmt: skip
    assert settings.local("big").of_group
    file.write_text('store = "store"\n')
    assert load_settings().settings.everywhere["local"] == LocalProfile()


@pytest.mark.long
def test_members_whose_umask_is_closed_work_in_one_store(members: tuple[Person, Person, Store]) -> None:
    one, other, store = members
    assert quiet(one, "submit", one.sweep()).code == 0
    assert closed_to_group(store.root) == []
    # Who sees it sees whose it is; resuming it changes nothing of that.
    for _ in range(2):
        status = other.cli("status")
        assert f"of user {one.user}" in status.out
        (sweep,) = json.loads(other.cli("status", "--json").out)["sweeps"]
        assert sweep["owner"] == str(one.user)
        done = quiet(other, "submit", other.sweep())
        assert (done.code, "0 submitted" in done.err) == (0, True), done
    assert "of user" not in one.cli("status").out
    # What is another's is changed only if they are named.
    quiet(one, "cancel", "tiny")
    changed = other.sweep(certification={"max_images": 24})
    for command in (["submit", changed, "--update"], ["retry", "tiny"], ["prune", "tiny", "--now", "--yes"]):
        before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
        done = quiet(other, *command)
        assert done.code == 2
        assert f"belongs to user {one.user}" in done.err
        assert f"--of {one.user}" in done.err
        assert before == {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
        assert quiet(other, *command, "--of", "somebody").code == 2
    assert "restarted: " in quiet(other, "retry", "tiny", "--of", str(one.user)).out
    assert quiet(other, "submit", changed, "--update", "--of", str(one.user)).code == 0
    assert closed_to_group(store.root) == []
    # Of runs that no sweep refers to, prune removes the own.
    quiet(other, "cancel", "tiny")
    done = quiet(other, "prune", "tiny", "--of", str(one.user), "--now", "--yes")
    assert done.code == 0, done
    assert list(store.runs("counts")) == []


@pytest.mark.long
def test_prune_leaves_what_others_submitted(members: tuple[Person, Person, Store]) -> None:
    one, other, store = members
    quiet(one, "submit", one.sweep())
    quiet(one, "cancel", "tiny")
    quiet(one, "prune", "tiny", "--yes")
    assert len(list(store.runs("counts"))) == 1, "it is younger than an hour"
    assert "nothing to remove" in quiet(other, "prune", "--now", "--yes").err
    assert len(list(store.runs("counts"))) == 1
    assert "removed: " in quiet(other, "prune", "--now", "--yes", "--of", str(one.user)).err
    assert list(store.runs("counts")) == []


@pytest.mark.long
def test_a_private_store_becomes_the_groups(persons: tuple[Person, Person]) -> None:
    one, other = map(secretive, persons)
    store = Store(one.home / "runs")
    one.home.chmod(0o711)
    one.settings(store.root)
    assert quiet(one, "submit", one.sweep()).code == 0
    assert all(path.stat().st_gid != GROUP for path in store.root.rglob("*"))
    for person in (one, other):
        person.settings(store.root, shared=SHARED)
    refused = other.cli("status")
    assert (refused.code, refused.out) == (3, "")
    assert (
        f"belongs to user {one.user} and to the group {one.user}, of which you aren't a member" in refused.err
    )
    # As the documentation and the messages say: the group, the folder, then what is in it.
    assert one.run("chgrp", str(GROUP), store.root).returncode == 0
    told = one.cli("doctor").out
    assert f"chmod g+ws {store.root}" in told
    assert one.run("chmod", "g+ws", store.root).returncode == 0
    told = one.cli("doctor").out
    assert "of yours can't be used by the group" in told
    assert "'rsctl doctor --share' opens them" in told
    # In between, nothing of it is taken for damaged.
    assert one.run("chmod", "g+rx", store.root / "models", store.root / "sweeps").returncode == 0
    done = other.cli("doctor", "--share")
    assert "0 files and folders" in done.err
    assert f"user {one.user}" in done.out
    done = quiet(one, "doctor", "--share")
    assert "opened to the group: " in done.err
    assert "can't be used" not in done.out
    assert closed_to_group(store.root) == []
    assert stat.S_IMODE(next((store.root / "code").iterdir()).stat().st_mode) & 0o020 == 0
    done = quiet(other, "submit", other.sweep())
    assert (done.code, "0 submitted" in done.err) == (0, True), done


def test_share_is_for_a_groups_store(chain: Chain) -> None:
    done = chain.cli("doctor", "--share")
    assert done.code == 2
    assert 'store_mode = "group"' in done.err


@pytest.mark.long
def test_a_file_that_may_not_be_read_is_not_set_aside(members: tuple[Person, Person, Store]) -> None:
    one, other, store = members
    quiet(one, "submit", one.sweep())
    (counts,) = store.runs("counts")
    counts.task_file(0).chmod(0o600)
    done = quiet(other, "submit", other.sweep())
    assert done.code == 3
    assert f"{counts.task_file(0)}: permission is denied" in done.err
    assert "its owner opens it: 'rsctl doctor --share'" in done.err
    assert counts.task_file(0).exists()
    assert quiet(one, "doctor", "--share").err.startswith("opened to the group: 1 file or folder")
    assert quiet(other, "submit", other.sweep()).code == 0


@pytest.mark.long
def test_who_is_not_in_the_group_gets_a_sentence(members: tuple[Person, Person, Store]) -> None:
    one, _, store = members
    stranger = Person(one.user + 4_000, one.folder, umask=0o077, group=one.user + 4_000)
    stranger.home.mkdir()
    os.chown(stranger.home, stranger.user, stranger.user)
    stranger.settings(store.root, shared=SHARED)
    quiet(one, "submit", one.sweep())
    store.root.chmod(0o2770)
    (counts,) = store.runs("counts")
    commands = (
        ["status"],
        ["export", "tiny"],
        ["submit", stranger.sweep()],
        ["retry", "tiny"],
        ["logs", counts.id],
    )
    for command in commands:
        done = quiet(stranger, *command)
        assert (done.code, done.out) == (3, ""), done
        assert (
            f"{store.root} belongs to user {one.user} and to the group {GROUP}, of which you aren't a member"
            in done.err
        )
    assert f"{store.root} belongs to user {one.user}" in stranger.cli("doctor").out
    stranger.end()


@pytest.mark.long
def test_a_member_finishes_what_another_began_though_both_have_closed_umasks(
    members: tuple[Person, Person, Store],
) -> None:
    one, other, store = members
    slow = {"n": 400_000, "max_images": 4, "shards": 1}
    one.cli("submit", one.sweep(certification=slow))
    (counts,) = store.runs("counts")
    wait_until(lambda: (attempt := latest_attempt(counts, 0)) and attempt.progress.get("done", 0) > 0.05, 240)
    assert "task 0" in one.cli("cancel", "tiny").out
    assert closed_to_group(store.root) == []
    before = latest_attempt(counts, 0)
    done = other.cli("submit", other.sweep(certification=slow), "--wait", "--json")
    assert done.code == 0, done
    last = latest_attempt(counts, 0)
    assert (last.number, last.claim["user"], before.claim["user"]) == (2, other.user, one.user)
    assert closed_to_group(store.root) == []
    status = json.loads(one.cli("status", "tiny", "--json").out)["sweeps"][0]
    assert status["damaged"] == {}
    owners = {
        run["run"].partition("/")[0]: {task["owner"] for task in run["tasks"]} for run in status["runs"]
    }
    assert owners == {"models": {str(one.user)}, "counts": {str(other.user)}}
    assert one.cli("export", "tiny").out == other.cli("export", "tiny").out
    # The counts are those of a run that nobody interrupted.
    table = other.cli("export", "tiny", "--format", "csv").out
    one.settings(one.home / "alone")
    done = one.cli("submit", one.home / "sweep.toml", "--wait")
    assert done.code == 0, done
    assert one.cli("export", "tiny", "--format", "csv").out == table


@AS_ROOT
def test_an_intact_file_of_another_user_is_not_damaged_and_a_changed_one_is(chain: Chain) -> None:
    chain.run_all(tiny())
    counts = chain.counts_run()
    file = counts.path / "counts.h5"
    give(file, STRANGER, GROUP)
    assert Damage(chain.store).of(counts) == []
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (problem,) = Damage(chain.store).of(counts)
    assert "don't match their SHA-256" in problem


@AS_ROOT
def test_another_users_sweep_is_shown_as_theirs_and_changed_only_if_they_are_named(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    (chain.folder / "rsctl.toml").write_text(f'{SHARED}\nstore = "store"\ndata = "data"\n')
    same, changed = chain.file(tiny()), chain.file(tiny(certification={"max_images": 24}), "changed.toml")
    chain.plan(tiny())
    for path in (chain.store.root, *chain.store.root.rglob("*")):
        give(path, STRANGER, GROUP)
    owner = str(STRANGER)
    assert f"of user {owner}" in status_text(status_values(chain.place))
    # To resume is what the store is shared for; it makes nobody the owner.
    for _ in range(2):
        assert control.submit(same, chain.place).plan
        assert owner_of_sweep(chain.store, "tiny") == owner
    control.cancel(chain.place, ["tiny"])
    before = {path: path.read_bytes() for path in chain.store.root.rglob("*") if path.is_file()}
    for of in ([], ["somebody"]):
        for change in (
            lambda of=of: control.submit(changed, chain.place, update=True, of=of),
            lambda of=of: retry.retry(chain.place, "tiny", of=of),
            lambda of=of: leftovers(chain.place, ["tiny"], recent=-1, of=of),
        ):
            with pytest.raises(RefusedError, match=f"belongs to user {owner}.*--of {owner}"):
                change()
    after = {path: path.read_bytes() for path in chain.store.root.rglob("*") if path.is_file()}
    assert {path for path in before if "code" not in path.parts} == {
        path for path in after if "code" not in path.parts
    }
    assert all(after[path] == data for path, data in before.items())
    assert retry.retry(chain.place, "tiny", of=[owner])[0]
    control.cancel(chain.place, ["tiny"])
    assert control.submit(changed, chain.place, update=True, of=[owner]).added
    control.cancel(chain.place, ["tiny"])
    # Runs are removed by those who made them, whoever deletes the sweep.
    make_own = [run.path for run in chain.store.runs("models")]
    found = leftovers(chain.place, ["tiny"], recent=-1, of=[owner])
    assert set(make_own) <= {one.path for one in found}
    give(chain.store.sweep_folder("tiny"), 0, GROUP)
    assert not set(make_own) & {one.path for one in leftovers(chain.place, ["tiny"], recent=-1)}
    # Nor is a model of one's own that a table of theirs needs.
    for path in make_own:
        give(path, 0, GROUP)
    assert not set(make_own) & {one.path for one in leftovers(chain.place, ["tiny"], recent=-1)}
    assert set(make_own) <= {one.path for one in leftovers(chain.place, ["tiny"], recent=-1, of=[owner])}
    share_with_group(False)


@AS_ROOT
def test_a_job_that_another_user_submitted_to_slurm_is_not_reported_as_cancelled(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = chain.plan(tiny())
    (run,) = chain.store.runs("counts")
    claim = Submission(
        "ab12", "slurm", "test", STRANGER, 1.0, str(chain.folder), {0: 0, 1: 1}, array=True, job="7"
    )
    claim.write(run)
    for file in (run.path / "submissions").iterdir():
        give(file, STRANGER, GROUP)
    tasks = [request.task for request in committed.requests if request.task.run == run]
    assert cli(["cancel", f"{run.id}"]) == 0
    told = capsys.readouterr()
    assert told.out == "no task was cancelled\n"
    assert told.err.count(f"user {STRANGER} submitted it, and only they can cancel it") == len(tasks) == 2
    (chain.store.sweep_folder("tiny") / "plan.json").unlink()
    list_tasks(chain.store.root / "submissions" / "ab12", [task.key for task in tasks])
    assert cli(["cancel", "--dropped"]) == 0
    told = capsys.readouterr()
    assert told.out == "no task was cancelled\n"
    assert told.err.count(f"not stopped: {run.id} task ") == 2


def test_a_folder_of_others_is_named_with_its_group(persons: tuple[Person, Person]) -> None:
    one, other = persons
    stranger = Person(other.user, other.folder, group=other.user)
    root = one.folder / "shared" / "runs"
    root.mkdir()
    give(root, one.user, GROUP)
    root.chmod(0o2770)
    stranger.settings(root)
    done = stranger.cli("status")
    assert (done.code, done.out) == (3, "")
    assert (
        f"{root} belongs to user {one.user} and to the group {GROUP}, of which you aren't a member"
        in done.err
    )
    assert other.cli("status").code == 0
