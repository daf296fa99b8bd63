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
import typer
from chain import Chain, tiny

from rsctl.cli.app import app, run
from rsctl.cluster.local.requests import own_queue
from rsctl.cluster.slurm.submissions import Submission, list_tasks
from rsctl.plan.tasks import Request
from rsctl.store.attempts import Claim, State, here
from rsctl.store.degenerate import Tally
from rsctl.store.degenerate import write as write_seen
from rsctl.store.files import as_line, replace, to_json
from rsctl.store.layout import Store
from rsctl.store.records import MOST_BYTES, MOST_VALUES, UnreadableRecord, read_json
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
        patch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
        patch.setattr("rsctl.cli.app", typer.main.get_command(app))  # which is most of a command's time
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

    # Seconds of the processor, for others may use it too; a command that waits for a pipe uses none.
    before = [(name, signal.signal(name, ring)) for name in (signal.SIGALRM, signal.SIGPROF)]
    signal.alarm(20 * SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for name, handler in before:
            signal.signal(name, handler)


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
        overview = Watcher().poll()
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
    found = fuzz(made, 0, 200)
    assert sum(count for what, count in found.items() if "refused" in what) > 20, found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_thousand_damaged_records(made: Made, seed: int) -> None:
    print(fuzz(made, seed, 1250))


def test_submit_sets_aside_what_is_damaged(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advised cure works, whatever lies there, and nothing is deleted."""
    root = tmp_path / "store"
    shutil.copytree(made.root, root)
    monkeypatch.setenv("RSCTL_STORE", str(root))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    file = str(made.sweep_file)
    assert command("submit", file)[0] == 0
    own = {"plan.json", "spec.json", "launch.json", "seen.json", "tile.json"}
    paths = [path.relative_to(made.root) for path in made.records if not {OTHER, "imports"} & {*path.parts}]
    sweep = [
        path for path in paths if "s0.25" not in str(path) and (path.name in own or path.name == "0001.json")
    ]
    assert {path.name for path in sweep} == {*own, "0001.json"}
    for path in sweep:
        for what in (b'{"schema": []', None):
            target = root / path
            kept = target.read_bytes()
            target.unlink()
            if what is None:
                target.mkdir()
            else:
                target.write_bytes(what)
            code, _, said = command("submit", file)
            assert code == 0, said
            (aside,) = [
                one
                for one in target.parent.glob(f"{target.name}.unusable-*")
                if one.is_dir() == (what is None)
            ]
            assert f"{target}: " in said
            assert f"Set aside as {aside.name}" in said
            assert what is None or aside.read_bytes() == what
            assert command("status", "tiny")[0] == 0
            if not target.exists():  # what a task writes anew
                target.write_bytes(kept)


def test_an_import_sets_aside_what_is_damaged(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    shutil.copytree(made.root, root)
    monkeypatch.setenv("RSCTL_STORE", str(root))
    log = made.sweep_file.with_name("cohen_sigma_0.5.tsv")
    (shown,) = (root / "sweeps/tiny/imports").iterdir()
    for damage in (shown, root / "imports" / shown.stem / "spec.json"):
        damage.write_text("{}")
        assert damage.name in "".join(command("export", "tiny")[1:])  # Markdown escapes its folder
        assert command("import", str(log), "--name", "tiny", "--n", "1000", "--n0", "100", "--alpha", "0.001")[0] == 0  # fmt: skip
        (aside,) = damage.parent.glob(f"{damage.name}.unusable-*")
        assert aside.read_text() == "{}"
        assert exported()[1] == made.export


def test_a_damaged_request_is_asked_for_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    shutil.copytree(made.root, root)
    monkeypatch.setenv("RSCTL_STORE", str(root))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    queue = own_queue(Store(root))
    requests = sorted(queue.requests.iterdir())
    requests[0].write_text(requests[0].read_text().replace('"needs"', '"needless"'))
    requests[1].unlink()
    requests[1].mkdir()
    assert len(queue.wanted()) == len(requests) - 2
    assert {path.name for path in queue.unreadable()} == {path.name for path in requests[:2]}
    chain_file = made.sweep_file.with_name("other.toml")
    chain_file.write_text(
        made.sweep_file.read_text().replace('"tiny"', f'"{OTHER}"').replace("sigma = 0.5", "sigma = 0.25")
    )
    code, _, said = command("submit", str(chain_file))
    assert code == 0, said
    assert len(queue.wanted()) >= len(requests)
    assert queue.unreadable() == []


LIMITS = [
    (b"[" * 200_000, "recursion limit"),
    (b'{"a": ' + b"1" * 5000 + b"}", "number out of range"),
    (b"[" + b"0," * (MOST_VALUES + 1) + b"0]", "has more than 8,000,000 values"),
    (b'{"a": "\xff"}', "can't be read as JSON"),
    (b"[1]", "should be an object"),
    (b"", "can't be read as JSON"),
]


@pytest.mark.parametrize(("data", "says"), LIMITS, ids=[says for _, says in LIMITS])
def test_one_reader_has_limits(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(data)
    with at_once(), pytest.raises(UnreadableRecord, match=says):
        read_json(file)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "large", "wb") as large:
        large.truncate(MOST_BYTES + 1)
    for name, says in (("pipe", "not a regular file"), ("zero", "not a regular file"), ("folder", "a folder"), ("large", "has more than 256 MB")):  # fmt: skip
        with at_once(), pytest.raises(UnreadableRecord, match=says):
            read_json(tmp_path / name)


def test_numbers_of_a_plan_have_a_digest(made: Made) -> None:
    """One digit of a failure probability is all that was changed."""
    (plan,) = [path for path in made.records if path.name == "plan.json" and OTHER not in path.parts]
    kept = plan.read_bytes()
    try:
        plan.write_bytes(kept.replace(b'"alpha": 0.001', b'"alpha": 0.002'))
        assert plan.read_bytes() != kept
        code, _, said = exported()
        assert code == 2
        assert "alpha, certificates, radii, images of " in said
        plan.write_text(json.dumps(unsealed(json.loads(kept))))  # as older versions wrote it
        assert exported()[1] == made.export
    finally:
        plan.write_bytes(kept)
