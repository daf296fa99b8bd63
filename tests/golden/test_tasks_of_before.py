"""Tasks that were queued before this code: a request of the local queue, and what submitit pickled for SLURM."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chain import Chain

from rsctl.cluster.local.requests import own_queue
from rsctl.store.attempts import latest_attempt
from rsctl.store.layout import Run
from rsctl.store.provenance import snapshot_code
from rsctl.store.tables import read_table

PICKLE = Path(__file__).with_name("submitted.pkl")
"""Of task 0 of the sweep 'waiting', by a path that is relative to the folder of the store."""
PLAIN = {
    key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SUBMITIT", "RSCTL"))
}
ENDS = """
import json, socket, sys, time
from pathlib import Path

def end(run, number):
    file = Path(run) / "tasks" / f"{int(number):04d}.1.jsonl"
    records = [{"record": "claim", "pid": 1, "start": "0"}, {"record": "end", "state": "failed", "reason": "by the snapshot"}]
    lines = [json.dumps({**one, "time": time.time(), "host": socket.gethostname()}) for one in records]
    file.write_text("\\n" + "\\n\\n".join(lines) + "\\n")
"""
SNAPSHOT = {
    "jobs/__init__.py": "",
    "rsctl/__init__.py": ENDS,
    "rsctl/cluster/__init__.py": "",
    "rsctl/cluster/slurm_task.py": (
        "from dataclasses import dataclass\nfrom rsctl import end\n@dataclass(frozen=True)\nclass SlurmTask:\n"
        "    run: str\n    number: int\n    submission: str\n    attempts: int\n    staging: str\n    snapshot_seconds: float\n"
        "    def __call__(self):\n        end(self.run, self.number)\n"
    ),
    "rsctl/cluster/task.py": "import sys\nfrom rsctl import end\nend(sys.argv[1], sys.argv[2])\n",
}
"""Sources under the names that queued tasks know, which end every task at once: if they run, the snapshot is what runs."""


def waiting(chain: Chain) -> Run:
    (key,) = own_queue(chain.store).wanted()
    kind, name, _ = key.split("/")
    return chain.store.run(kind, name)


def snapshot(chain: Chain) -> str:
    """Keep these sources as those of an earlier submission; returns their hash."""
    digest = hashlib.sha256()
    files = sorted((name, text) for name, text in SNAPSHOT.items())
    for name, text in [one for root in ("rsctl/", "jobs/") for one in files if one[0].startswith(root)]:
        digest.update(name.encode() + b"\0" + text.encode() + b"\0")
    code = digest.hexdigest()[:16]
    for name, text in files:
        path = chain.store.root / "code" / code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code


def serve(chain: Chain, code: str) -> None:
    """Run the queue of this code on the request that lies there, with the code that it names being in the store."""
    queue = own_queue(chain.store)
    (key,) = queue.wanted()
    file = queue.request_file(key)
    file.write_text(json.dumps({**json.loads(file.read_text()), "code": code}))
    done = subprocess.run(
        [sys.executable, "-m", "rsctl.cluster.local.queue"], cwd=chain.folder, capture_output=True, text=True, timeout=300,
        env={**PLAIN, "RSCTL_CONFIG": str(chain.folder / "rsctl.toml"), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert queue.wanted() == {}


def unpickle(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Do what submitit does inside a job."""
    call = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).function()"
    return subprocess.run(
        [sys.executable, "-c", call, str(PICKLE)], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**PLAIN, "RSCTL_CONFIG": str(folder / "rsctl.toml"), "PYTHONSAFEPATH": "1", **env},
    )  # fmt: skip


def test_a_request_of_before_runs_from_its_own_snapshot(golden: Chain) -> None:
    run = waiting(golden)
    serve(golden, snapshot(golden))
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert (attempt.ended, attempt.reason) == ("failed", "by the snapshot")


@pytest.mark.long
def test_a_request_of_before_runs_with_this_code(golden: Chain) -> None:
    run = waiting(golden)
    serve(golden, snapshot_code(golden.store.root))
    assert len(read_table(run).rows) == 6


def test_a_slurm_task_of_before_is_loaded_from_its_snapshot(golden: Chain) -> None:
    run = waiting(golden)
    done = unpickle(golden.folder, PYTHONPATH=str(golden.store.root / "code" / snapshot(golden)))
    assert done.returncode == 0, done.stderr
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert attempt.reason == "by the snapshot"
