"""Damaged JSON records: whatever lies in the store, commands answer in a sentence, at once, and of the other sweeps too.

Records are those of a real store, made here: each field of each gets values of every wrong type, files are cut, flipped, nested,
grown, and replaced by what is no file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny

from rsctl.cli import run
from rsctl.cluster.requests import own_queue
from rsctl.cluster.slurm_submissions import Submission, list_tasks
from rsctl.plan.tasks import Request
from rsctl.store.attempts import Claim, State, here
from rsctl.store.degenerate import Tally
from rsctl.store.degenerate import write as write_seen
from rsctl.store.files import as_line, replace, to_json
from rsctl.store.rows import Rows
from rsctl.store.shards import Shard, encode_shard
from rsctl.store.tables import shard_file
from rsctl.tui.watch import Watcher

SECONDS = 5
OTHER = "other"
_LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + "".join(f"{i}\t{i % 10}\t{i % 10}\t0.{i:02d}\t1\t0:00:01\n" for i in range(1, 40))  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A store with a finished sweep, one that waits, an import, and the notes of the queue and of SLURM."""

    root: Path
    sweep_file: Path
    records: list[Path]
    export: Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "rsctl.toml").write_text('store = "store"\ndata = "data"\n')
        patch.setenv("RSCTL_CONFIG", str(folder / "rsctl.toml"))
        patch.delenv("RSCTL_STORE", raising=False)
        patch.delenv("RSCTL_DATA", raising=False)
        patch.setattr("rsctl.cluster.local.start_detached", lambda *_: None)
        patch.chdir(folder)
        chain = Chain(folder)
        small = {"training": {"epochs": 1}, "certification": {"n": 100, "max_images": 12}}
        file = chain.file(tiny(**small))
        finish(chain.plan(tiny(**small)).requests)
        requests = chain.plan(tiny(**small, name=OTHER, sigma=0.25)).requests
        queue = own_queue(chain.store)
        for request in requests:
            queue.add(request)
        queue.end(requests[-1].task.key, State.CANCELLED, "cancelled by you")
        task = requests[0].task
        Submission("abc", "slurm", "c", 0, 1.0, str(folder), {0: 0}, False, "7").write(task.run)
        list_tasks(chain.store.root / "submissions" / "abc", [task.key])
        replace(
            chain.store.root / "bench" / "cnn.json",
            to_json({"model": "cnn", "dataset": "digits", "device": "cpu", "time": 1.0, "rows": [{"precision": "fp32", "samples_per_second": 5.0}]}),
        )  # fmt: skip
        (folder / "cohen_sigma_0.5.tsv").write_text(_LOG)
        assert run(["import", str(folder / "cohen_sigma_0.5.tsv"), "--name", "tiny", "--n", "1000", "--n0", "100", "--alpha", "0.001"]) == 0  # fmt: skip
        shutil.rmtree(chain.store.root / "code")
        root = chain.store.root
        records = sorted(path for path in root.rglob("*.json*") if path.is_file())
        kinds = {path.name if path.parent.name not in ("tasks", "imports", "requests", "ended", "submissions", "bench") else path.parent.name for path in records}  # fmt: skip
        assert kinds >= {"plan.json", "spec.json", "launch.json", "seen.json", "tasks", "imports", "requests", "ended", "submissions", "bench"}  # fmt: skip
        yield Made(root, file, records, exported()[1])


def finish(requests: list[Request]) -> None:
    """Tasks that are done, without their GPU-hours."""
    chance = np.random.default_rng(0)
    for request in requests:
        run_, number = request.task.run, request.task.number
        claim = Claim.take(run_, number, {**here(), "threads": 1})
        claim.write("progress", done=5.0, total=10.0, unit="images", rate=2.5, device="cpu")
        if run_.kind == "models":
            replace(run_.model_file, b"synthetic")
            write_seen(run_.path, Tally([10, 10], [0, 20], [0, 10]), training=True)
            (run_.path / f"metrics.{claim.number}.jsonl").write_bytes(
                as_line({"epoch": 1.0, "loss": 2.0, "accuracy": 0.5, "lr": 0.1})
            )
        else:
            images, spec = run_.images(number), run_.count_spec
            label = np.array(images, np.int32) % 10
            likely = np.full((len(images), 10), 0.02) + 0.8 * np.eye(10)[label]
            rows = Rows(
                index=np.array(images, np.int64), label=label, n=np.full(len(images), spec.n, np.int64), seconds=np.full(len(images), 0.1),
                selection_counts=chance.multinomial(spec.n0, likely).astype(np.int32), counts=chance.multinomial(spec.n, likely).astype(np.int32),
                fingerprint=np.zeros(len(images), np.int32),
            )  # fmt: skip
            about = {"spec": "{}", "spec_hash": run_.spec.hash, "model_sha256": "0" * 64, "dimension": 64}
            shard = Shard(rows, about, [{"device": "synthetic"}])
            replace(shard_file(run_, number, claim.number), encode_shard(shard, {}, 0.001))
            replace(run_.path / "tile.json", to_json({"tile": 100}))
        claim.end("done", "")


class Slow(BaseException):
    """A command took too long; no command may catch it."""


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command(*arguments: str) -> tuple[int, str, str]:
    """A real command in this process: exit code, stdout, stderr. A traceback is the exception itself."""
    out, err = io.StringIO(), io.StringIO()
    with at_once(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()


def exported() -> tuple[int, Any, str]:
    code, out, err = command("export", "tiny", "--format", "json")
    return code, json.loads(out)["rows"] if code == 0 else None, out + err


# ------------------------------------------------------------------ what is done to a file

WRONG: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.25, 10**30, 2**63, float("nan"), float("inf"), "", "x", "../../x", "\x1b[31mred", "\ud800", "nul\0",
    "a" * 300, [], {}, [[]], [1.5], ["x"], {"a": 1}, [{}], [None] * 3,
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, ...]]:
    """The path of every field of a record; of a list the first and last entry."""
    found: list[tuple[Any, ...]] = []
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    if isinstance(value, list) and value:
        keys = sorted({0, len(value) - 1})
    for key in keys:
        found.append((key,))
        found += [(key, *rest) for rest in places(value[key])]
    return found


def put(value: Any, place: tuple[Any, ...], new: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    if new is ...:
        del value[place[-1]]
    else:
        value[place[-1]] = new


def unsealed(value: Any) -> Any:
    """A record as older versions wrote it, without digests."""
    if isinstance(value, dict):
        return {key: unsealed(one) for key, one in value.items() if key != "digest"}
    return [unsealed(one) for one in value] if isinstance(value, list) else value


def wrong_field(data: bytes, chance: random.Random) -> bytes:
    """One field of one record with a value of another type, or without it."""
    lines = data.split(b"\n") if data.startswith(b"\n") else [data]
    at = chance.choice([number for number, line in enumerate(lines) if line])
    value = json.loads(lines[at])
    if chance.random() < 0.6:
        value = unsealed(value)
    put(value, chance.choice(places(value)), chance.choice([*WRONG, ...]))
    lines[at] = json.dumps(value).encode()
    return b"\n".join(lines)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 20])):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def nested(data: bytes, chance: random.Random) -> bytes:
    depth = chance.choice([150, 1000, 200_000])
    inner = chance.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])
    return chance.choice(
        [inner, b'{"raw": ' + inner + b"}", data.rstrip()[:-1] + b', "more": ' + inner + b"}"]
    )


def other_text(data: bytes, chance: random.Random) -> bytes:
    one = data.strip()
    return chance.choice([
        b"", b"\n", b"null", b"[]", b"{}", b"5", b'"x"', b"\xff\xfe\x00", b"\xef\xbb\xbf" + data, data + data, one[:-1] + b',"schema":99}', b'{"schema": 99}',
        one[:-1] + b"," + one[1:], b"\0" * 4096, b'{"entries": [' + b"{}," * 200_000 + b"{}]}", b"[" + b"1," * 500_000 + b"1]", b'{"tasks": ' + b"9" * 5000 + b"}",
    ])  # fmt: skip


TEXTS = [wrong_field, wrong_field, wrong_field, cut, flipped, flipped, nested, other_text]


def no_file(path: Path, chance: random.Random) -> None:
    """Something else in place of a file."""
    kind = chance.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to("nowhere")
    elif kind == 3:
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.name)


@contextlib.contextmanager
def damaged(path: Path, chance: random.Random) -> Iterator[str]:
    """The file, damaged in one way, for as long as this lasts."""
    kept = path.read_bytes()
    stamp = path.stat()
    way: Callable[..., Any] = no_file if chance.random() < 0.1 else chance.choice(TEXTS)
    if way is no_file:
        path.unlink()
        no_file(path, chance)
    else:
        path.write_bytes(way(kept, chance))
    try:
        yield way.__name__
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
        path.write_bytes(kept)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


# ------------------------------------------------------------------ what has to hold


def check(made: Made, path: Path, sealed: bool) -> str:
    """The commands over a damaged store; says what became of the record. Only a sealed record shows that its numbers were edited."""
    code, out, err = command("status")
    assert code in (0, 2)
    own = OTHER in path.relative_to(made.root).parts
    assert f"{OTHER:32}" in out
    assert f"{'tiny':32}" in out
    assert code == 0 or str(path) in out, "what ends with 2 names the file"
    if code == 0 and not own:
        assert " done" in out.split(f"{'tiny':32}")[1].splitlines()[0] or str(path) in out + err
    overview = None
    with at_once():
        overview = Watcher().look()
    assert len(overview.sweeps) + sum(str(path) in told for told in overview.problems) >= 2
    code, rows, said = exported()
    assert code in (0, 2)
    if code == 0 and rows != made.export and sealed:
        assert str(path) in said or path.name in said, f"numbers change without a word: {path}"
        return "said"
    return "refused" if code else "same"


def fuzz(made: Made, seed: int, cases: int) -> Counter[str]:
    chance = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(cases):
        path = made.records[number % len(made.records)]
        with damaged(path, chance) as way:
            try:
                outcome = check(made, path, sealed=way != "wrong_field" or b'"digest"' in path.read_bytes())
            except (Exception, Slow) as error:
                kept = path.read_bytes()[:400] if path.is_file() and path.stat().st_size < 10**7 else b""
                raise AssertionError(f"case {number} of seed {seed}: {way} of {path}: {kept!r}") from error
        found[f"{way}: {outcome}"] += 1
    assert exported()[1] == made.export, "the last case was undone"
    return found


def test_some_hundred_damaged_records(made: Made) -> None:
    found = fuzz(made, 0, 250)
    assert sum(count for what, count in found.items() if "refused" in what) > 20, found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_thousand_damaged_records(made: Made, seed: int) -> None:
    print(fuzz(made, seed, 1250))
