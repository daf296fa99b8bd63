"""A store that a group shares: open to its members whatever their umask, and changed by others only on purpose."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chain import Chain, Finished, tiny, wait_until
from persons import GROUP, Person
from persons import persons as persons

from rsctl.config.settings import LocalProfile, load_settings
from rsctl.owners import share_with_group
from rsctl.store.attempts import latest_attempt
from rsctl.store.files import make_folder, open_log, publish, publish_all, replace
from rsctl.store.layout import Store
from rsctl.store.sharing import closed_to_group

SHARED = 'store_mode = "group"'
QUIET = """
import sys
from rsctl.cluster.local import backend
from rsctl.cli.app import run
backend.start_detached = lambda *_: None
sys.exit(run(sys.argv[1:]))
"""
"""The command line, with a queue that takes requests and starts nothing."""


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
    finally:
        share_with_group(False)
        os.umask(before)
    publish(shared / "private.json", b"", 0o600)
    assert modes(shared) == {
        "a": 0o2770, "a/b": 0o2770, "a/b/replaced.json": 0o660, "a/published.json": 0o660, "a/logs": 0o2770, "a/logs/0.log": 0o660,
        "own": 0o2770, "own/mine": 0o2750, "own/mine/request.json": 0o640, "copy.pt": 0o600, "private.json": 0o600,
    }  # fmt: skip
    assert modes(tmp_path / "elsewhere") == {"file": 0o600}


def test_a_folder_is_open_before_others_write_into_it(tmp_path: Path) -> None:
    """Writers at the same time make the folder that all of them write to."""
    tmp_path.chmod(0o2770)
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
    assert f"belongs to user {one.user} and to the group {one.user}, of which you aren't a member" in refused.err
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


def test_who_is_not_in_the_group_gets_a_sentence(members: tuple[Person, Person, Store]) -> None:
    one, other, store = members
    stranger = Person(60953, one.folder, umask=0o077, group=60953)
    stranger.home.mkdir()
    os.chown(stranger.home, stranger.user, stranger.user)
    stranger.settings(store.root, shared=SHARED)
    quiet(one, "submit", one.sweep())
    store.root.chmod(0o2770)
    (counts,) = store.runs("counts")
    commands = (["status"], ["export", "tiny"], ["submit", stranger.sweep()], ["retry", "tiny"], ["logs", counts.id])
    for command in commands:
        done = quiet(stranger, *command)
        assert (done.code, done.out) == (3, ""), done
        assert f"{store.root} belongs to user {one.user} and to the group {GROUP}, of which you aren't a member" in done.err
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
    wait_until(lambda: (attempt := latest_attempt(counts, 0)) and attempt.progress.get("done", 0) > 0.05)
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
    owners = {run["run"].partition("/")[0]: {task["owner"] for task in run["tasks"]} for run in status["runs"]}
    assert owners == {"models": {str(one.user)}, "counts": {str(other.user)}}
    assert one.cli("export", "tiny").out == other.cli("export", "tiny").out
    # The counts are those of a run that nobody interrupted.
    alone = Person(one.user, one.folder, umask=0o077)
    alone.settings(one.home / "alone")
    alone.cli("submit", one.sweep(certification=slow), "--wait")
    exported = [json.loads(one.cli("export", "tiny", "--format", "json").out)]
    alone.settings(store.root, shared=SHARED)
    exported.append(json.loads(one.cli("export", "tiny", "--format", "json").out))
    assert [row["values"] if "values" in row else row for row in exported[0].get("rows", [])] == [
        row["values"] if "values" in row else row for row in exported[1].get("rows", [])
    ]


def test_a_damage_check_of_anothers_file_compares_its_digest(members: tuple[Person, Person, Store], chain: Chain) -> None:
    """An intact file of another member isn't damaged, and a changed one is."""
    one, other, _ = members
    chain.run_all(tiny())
    counts = chain.counts_run()
    root = chain.store.root
    subprocess.run(["chown", "-R", f"{one.user}:{GROUP}", root], check=True)
    subprocess.run(["chmod", "-R", "g+rwX,o+rX", root], check=True)
    for folder in (chain.folder, *chain.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    other.settings(root, shared=SHARED)
    assert "DAMAGED" not in other.cli("status").out
    file = counts.path / "counts.h5"
    data = file.read_bytes()
    with open(file, "r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([data[-1] ^ 1]))
    assert "1 data file DAMAGED" in other.cli("status").out
