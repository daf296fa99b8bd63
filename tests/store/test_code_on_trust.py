"""Nothing runs as you on trust: the code of a task is what its name stands for, and a request is one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny, wait_until

from rsctl.catalog import plugins
from rsctl.cluster import doctor
from rsctl.cluster.control import submit, sweep_statuses
from rsctl.cluster.local.queue import QueueProcess
from rsctl.cluster.local.requests import own_queue
from rsctl.errors import InputError, RefusedError
from rsctl.store.attempts import State
from rsctl.store.files import replace, to_json
from rsctl.store.provenance import snapshot_code, verify_code


def added(code: Path) -> None:
    (code / "socket.py").write_text("raise SystemExit('somebody else')")


def changed(code: Path) -> None:
    with open(code / "jobs" / "certify" / "count.py", "a") as file:
        file.write("\n")


def removed(code: Path) -> None:
    (code / "jobs" / "per_image" / "verify.py").unlink()


def linked(code: Path) -> None:
    file = code / "jobs" / "certify" / "count.py"
    elsewhere = code.parent.parent / "count.py"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("change", [added, changed, removed, linked])
def test_a_snapshot_that_was_changed_is_refused(chain: Chain, change: Any) -> None:
    code = snapshot_code(chain.store.root)
    folder = verify_code(chain.store.root, code, plugins())
    change(folder)
    with pytest.raises(RefusedError, match="don't match the hash in its name"):
        verify_code(chain.store.root, code, plugins())
    with pytest.raises(RefusedError, match="don't match the hash in its name"):
        snapshot_code(chain.store.root)


def test_kept_bytecode_is_never_run(chain: Chain) -> None:
    code = snapshot_code(chain.store.root)
    kept = chain.store.root / "code" / code / "jobs" / "__pycache__"
    kept.mkdir()
    (kept / "count.cpython-311.pyc").write_bytes(b"somebody else's")
    verify_code(chain.store.root, code, plugins())
    assert not kept.exists()


@pytest.mark.parametrize("code", ["/elsewhere", "../code", "", "0123", "0123456789ABCDEF"])
def test_code_is_named_by_a_hash_alone(chain: Chain, code: str) -> None:
    with pytest.raises(InputError, match="not the hash of a snapshot"):
        verify_code(chain.store.root, code, ())
    with pytest.raises(InputError, match=r"is gone\. Submit again"):
        verify_code(chain.store.root, "0123456789abcdef", ())


def test_the_queue_runs_no_other_code_and_goes_on_with_the_rest(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of every wrong kind, one with code of its own, and a good one."""
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    submit(chain.file(tiny()), chain.place)
    queue = own_queue(chain.store)
    (good, *_), wanted = [key for key in queue.wanted() if key.startswith("models/")], queue.wanted()
    wrong = [
        {"needs": [1.5]}, {"needs": "x"}, {"needs": ["../../x/y/0"]}, {"threads": "2"}, {"threads": -1}, {"gpus": []}, {"code": 3},
        {"after": None}, {"submitted": "now"}, {"threads": True},
    ]  # fmt: skip
    for number, values in enumerate(wrong):
        key = f"models/other/{number}"
        replace(queue.request_file(key), to_json({**wanted[good], "task": key, **values}))
    other = "models/elsewhere/0"
    replace(queue.request_file(other), to_json({**wanted[good], "task": other, "code": "/elsewhere"}))
    assert set(queue.wanted()) == {*wanted, other}
    assert len(queue.unreadable()) == len(wrong)
    assert sum("is not a valid request" in one.text for one in doctor.examine(chain.place)) == len(wrong)
    process = QueueProcess(queue, chain.place.settings.local())
    assert process.tick()
    ended = queue.endings()[other]
    assert ended["state"] == "failed"
    assert good in process.running
    wait_until(lambda: not process.running[good].lives)


def test_a_module_in_the_folder_of_a_run_is_not_imported(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = chain.file(tiny())
    with monkeypatch.context() as asleep:
        asleep.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
        submit(file, chain.place)
    for kind in ("models", "counts"):
        for run in chain.store.runs(kind):
            (run.path / "socket.py").write_text("raise SystemExit('somebody else')")
    done = chain.cli("submit", file, "--wait")
    assert done.code == 0, done.err
    assert {status.state for status in sweep_statuses(chain.place, "tiny").values()} == {State.DONE}
    (code,) = os.listdir(chain.store.root / "code")
    assert not list((chain.store.root / "code" / code).rglob("__pycache__"))


def test_changed_code_fails_the_task_with_the_reason(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    submit(chain.file(tiny()), chain.place)
    queue = own_queue(chain.store)
    (code,) = {request["code"] for request in queue.wanted().values()}
    added(chain.store.root / "code" / code)
    QueueProcess(queue, chain.place.settings.local()).tick()
    (model,) = [
        status for status in sweep_statuses(chain.place, "tiny").values() if status.task.run.kind == "models"
    ]
    assert model.state == State.FAILED
    assert "they were changed" in model.reason


def test_a_store_that_everybody_can_write_to_is_named(chain: Chain) -> None:
    chain.plan(tiny())
    assert not any("is world-writable" in one.text for one in doctor.examine(chain.place))
    os.chmod(chain.store.root, 0o777)
    os.chmod(chain.store.root / "code", 0o777)
    told = [one for one in doctor.examine(chain.place) if "is world-writable" in one.text]
    assert len(told) == 2
    assert not any(one.ok for one in told)
    assert json.loads(chain.cli("doctor", "--json").out)
