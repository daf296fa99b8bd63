"""Remotes without a connection: settings, command lines, what may come back, and pulled sweeps in the store."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import tomli
from chain import Chain, tiny

import rsctl
from rsctl.cli.app import run
from rsctl.config.remotes import Remote
from rsctl.config.settings import load_settings
from rsctl.errors import InputError, RefusedError, UnavailableError
from rsctl.remote.bundles import Bundle, bundle_of
from rsctl.remote.carried import _plugins, carry
from rsctl.remote.command_line import CommandParameter, named_files
from rsctl.remote.connection import Connection, runtime_folder, wrapped
from rsctl.remote.detached import claimed
from rsctl.remote.install import installed
from rsctl.remote.outputs import bring
from rsctl.remote.pull import _status, local_name
from rsctl.remote.sweep_files import checkpoints, moved, place_of
from rsctl.remote.wheel import build_wheel
from rsctl.store.pulled import write_pulled

SUBMIT = [CommandParameter(is_path=True), CommandParameter(("--cluster",)), CommandParameter(("--wait", "--no-wait"), takes_value=False), CommandParameter(("-o", "--output"), is_path=True)]  # fmt: skip
PACK = [CommandParameter(), CommandParameter(("--without",), is_path=True)]
LOGS = [CommandParameter(is_path=True, repeated=True), CommandParameter(("--seed",))]


@pytest.mark.parametrize(
    "host",
    ["-oProxyCommand=touch x", "--", "", "a b", "a;b", "$(a)", "a\nb", "a'b", "`a`", "a|b", "\x1b[31m"],
)
def test_a_host_that_ssh_could_take_for_something_else_is_refused(
    chain: Chain, host: str, capsys: Any
) -> None:
    from rsctl.config.toml_text import to_value

    chain.file(f"[remotes.far]\nhost = {to_value(host)}\n", "rsctl.toml")
    assert run(["--at", "far", "status"]) == 2
    assert "rsctl.toml: remotes.far.host: must be an alias" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["gpu", "me@gpu.example.org", "ssh://me@gpu:2222", "me@[fe80::1%eth0]", "größe"]
)
def test_usual_hosts_are_taken(chain: Chain, host: str) -> None:
    chain.file(f'[remotes.far]\nhost = "{host}"\n', "rsctl.toml")
    assert load_settings().settings.remote("far").host == host


def test_wrong_use_of_at_is_a_sentence(chain: Chain, capsys: Any) -> None:
    for words, said in (
        (["--at"], "--at: requires a value. 'rsctl remote list' lists the remotes."),
        (["--at", "far"], "unknown remote 'far'"),
        (["--at", "far", "status"], "'rsctl help remotes' has an example."),
        (["--version", "--at", "far"], "--at: must come first"),
        (["remote", "check", "far"], "unknown remote 'far'"),
        (["pull", "far"], "SWEEP… is missing"),
    ):
        assert run(words) == 2, words
        assert said in capsys.readouterr().err
    assert run(["remote", "list"]) == 0
    assert "no remotes in rsctl.toml" in capsys.readouterr().out
    assert run(["help", "remotes"]) == 0
    assert "[remotes.gpu]" in capsys.readouterr().out


def test_remotes_in_a_strangers_rsctl_toml_are_not_used(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RSCTL_CONFIG")
    chain.file('[remotes.far]\nhost = "evil"\n', "rsctl.toml")
    monkeypatch.setattr("rsctl.config.settings.is_mine", lambda _: False)
    with pytest.raises(InputError, match="belongs to another user, and its 'remotes' would run code as you"):
        load_settings()


@pytest.mark.parametrize(
    ("words", "parameters", "found"),
    [
        ("a.toml --wait", SUBMIT, [(0, "", "a.toml", False)]),
        ("--cluster gpu a.toml", SUBMIT, [(2, "", "a.toml", False)]),
        ("--wait a.toml -o out", SUBMIT, [(1, "", "a.toml", False), (3, "", "out", True)]),
        ("--output=x a", SUBMIT, [(0, "--output=", "x", True), (1, "", "a", False)]),
        ("-ox a", SUBMIT, [(0, "-o", "x", True), (1, "", "a", False)]),
        ("-- -o a", SUBMIT, [(1, "", "-o", False)]),
        ("a b", SUBMIT, [(0, "", "a", False)]),
        ("a --seed 1 b", LOGS, [(0, "", "a", False), (3, "", "b", False)]),
        ("a -o", SUBMIT, [(0, "", "a", False)]),
        ("a --without=b", PACK, [(1, "--without=", "b", False)]),
        ("a.toml", [], []),
    ],
)
def test_files_are_found_in_a_command_line(words: str, parameters: Any, found: Any) -> None:
    named = [
        (one.position, one.prefix, one.path, one.is_output) for one in named_files(words.split(), parameters)
    ]
    assert named == found


def test_checkpoints_of_a_sweep_file_are_found_and_moved(chain: Chain) -> None:
    for name in ("a.pth", "b.pth", "c.pth"):
        chain.file("", name)
    text = """# mine
[[method]]
name = "checkpoint"
file = 'a.pth'   # the best
[[method]]
name = "x"
teacher = { checkpoint = "b.pth" }
start = { name = "checkpoint", file = "there.pth" }
[[method]]
name = "checkpoint"
grid.file = ["a.pth", "c.pth"]
"""
    file = chain.file(text)
    assert checkpoints(tomli.loads(text)) == ["a.pth", "b.pth", "c.pth"]
    changed = moved(file, {name: f'/far/"{name}"\n' for name in ("a.pth", "b.pth", "c.pth")}).decode()
    values = tomli.loads(changed)["method"]
    assert changed.startswith("# mine\n")
    assert values[0]["file"] == '/far/"a.pth"\n'
    assert values[1] == {
        "name": "x",
        "teacher": {"checkpoint": '/far/"b.pth"\n'},
        "start": {"name": "checkpoint", "file": "there.pth"},
    }
    assert values[2]["grid"] == {"file": ['/far/"a.pth"\n', '/far/"c.pth"\n']}
    # A text that is the same elsewhere stays: the file is written anew.
    file.write_text(f'description = "a.pth"\n{text}')
    values = tomli.loads(moved(file, {"a.pth": "/far/a"}).decode())
    assert (values["description"], values["method"][0]["file"]) == ("a.pth", "/far/a")


def test_folders_of_transformers_go_along(chain: Chain) -> None:
    for name in ("nets/vit", "resnet18"):
        (chain.folder / name).mkdir(parents=True)
    (chain.folder / "nets" / "vit" / "config.json").write_text('{"model_type": "vit"}')
    file = chain.file("""model = ["hf:nets/vit", "timm:resnet18", "hf:owner/name"]
[[method]]
name = "checkpoint"
teacher = { model = { name = "hf", architecture = "nets/vit" } }
start = { model = { name = "timm", architecture = "resnet18" } }
""")
    found = checkpoints(tomli.loads(file.read_text()))
    assert found == ["hf:nets/vit", "nets/vit"]
    values = tomli.loads(moved(file, {text: place_of(text, "/far/vit") for text in found}).decode())
    assert values["model"] == ["hf:/far/vit", "timm:resnet18", "hf:owner/name"]
    assert values["method"][0]["teacher"]["model"]["architecture"] == "/far/vit"
    assert values["method"][0]["start"]["model"]["architecture"] == "resnet18"


def test_what_can_not_go_along_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is not a regular file"):
        _ = bundle_of(tmp_path / "pipe").id
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder of 0 files"):
        bundle_of(tmp_path / "empty")
    with pytest.raises(InputError, match="more than can be passed on"):
        wrapped("x" * 200_000)


class HostileConnection:
    """A connection whose other side sends this archive."""

    name = "far"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def download(self, script: str, file: Any, most: int) -> None:
        file.write(self.data)

    def output(self, script: str) -> str:
        return ""


def packed(*members: tuple[str, bytes, Any]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, value in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(value)
                archive.addfile(entry, io.BytesIO(value))
            else:
                entry.linkname = value
                archive.addfile(entry)
    return stream.getvalue()


def sparse(name: str) -> bytes:
    """An archive with a file of one byte that unpacks to a terabyte."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    return stream.getvalue()


def empty_header() -> bytes:
    """A header that describes the next one, of which tarfile follows a chain by recursion."""
    entry = tarfile.TarInfo("x")
    entry.type = tarfile.XHDTYPE
    return entry.tobuf()


FILE = tarfile.REGTYPE
HOSTILE: list[Callable[[Path], bytes]] = [
    lambda _: packed(("./0/../../evil", FILE, b"x")),
    lambda at: packed((f"{at}/evil", FILE, b"x")),
    lambda _: packed(("./0/table.csv", tarfile.SYMTYPE, "/etc/passwd")),
    lambda _: packed(("./0/table.csv", FILE, b"good"), ("./0/evil", FILE, b"x")),
    lambda _: packed(("./0/table.csv/../../../evil", FILE, b"x")),
    lambda _: packed(("./0/table.csv", tarfile.LNKTYPE, "evil")),
    lambda _: packed(("./0/table.csv", tarfile.FIFOTYPE, "")),
    lambda _: packed(("./1/other.csv", FILE, b"x")),
    lambda _: b"junk" * 1000,
    lambda _: packed(("./0/table.csv", FILE, b"x" * 5000))[:1024],
    lambda _: packed(("./0/\x1b[31mevil", FILE, b"x")),
    lambda _: sparse("./0/table.csv"),
    lambda _: gzip.compress(packed(("./0/table.csv", FILE, b"x"))),
    lambda _: empty_header() * 2000 + packed(("./0/table.csv", FILE, b"x")),
    *(
        lambda _, name=name: packed((f"./1/logs/{name}", FILE, b"x"))
        for name in (".bashrc", ".ssh/rc", "conftest.py", ".git/hooks/pre-commit", "a/b.tsv")
    ),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_only_the_files_of_a_command_come_back(tmp_path: Path, number: int) -> None:
    (tmp_path / "in").mkdir()
    outputs = {"0/table.csv": tmp_path / "in" / "table.csv", "1/logs": tmp_path / "in"}
    connection = cast(Connection, HostileConnection(HOSTILE[number](tmp_path)))
    with pytest.raises(RefusedError) as refused:
        bring(connection, "/there", outputs, force=True)
    assert "\x1b" not in str(refused.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_folders_of_a_command_come_back(tmp_path: Path) -> None:
    data = packed(
        (".", tarfile.DIRTYPE, ""), ("./0/logs", tarfile.DIRTYPE, ""), ("./0/logs/a.tsv", FILE, b"1")
    )
    bring(cast(Connection, HostileConnection(data)), "/there", {"0/logs": tmp_path / "mine"}, force=False)
    assert (tmp_path / "mine" / "a.tsv").read_bytes() == b"1"


def test_a_second_export_into_a_folder_keeps_the_entries_of_the_first(tmp_path: Path) -> None:
    def brought(name: str, manifest: bytes = b"") -> None:
        manifest = manifest or json.dumps({"rsctl": "logs", "logs": {name: {"method": name}}}).encode()
        data = packed(("./0/logs/rsctl-logs.json", FILE, manifest))
        bring(cast(Connection, HostileConnection(data)), "/there", {"0/logs": tmp_path}, force=False)

    for name in ("a.tsv", "b.tsv", "a.tsv"):
        brought(name)
    kept = (tmp_path / "rsctl-logs.json").read_text()
    assert json.loads(kept)["logs"] == {"a.tsv": {"method": "a.tsv"}, "b.tsv": {"method": "b.tsv"}}
    for hostile in (b"[" * 10_000, b"{}", b"\xff"):
        with pytest.raises(RefusedError, match="damaged archive"):
            brought("c.tsv", hostile)
    (tmp_path / "rsctl-logs.json").write_text("mine")
    with pytest.raises(RefusedError, match="not written by rsctl"):
        brought("c.tsv")


def test_a_folder_above_has_a_name_of_its_own_there(chain: Chain) -> None:
    place = load_settings()
    command = carry(
        cast(Connection, HostileConnection(b"")), place, ["export", "s", "-o", ".."], SUBMIT, "/there"
    )
    above = Path.cwd().parent
    assert command.words == ("export", "s", "-o", f"/there/0/{above.name}")
    assert command.outputs == {f"0/{above.name}": Path("..")}


def test_hidden_files_of_plugins_stay_here(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(chain.folder))
    for name in ("__init__.py", "inner/data.txt", ".env", ".git/config", "inner/.netrc", "__pycache__/a.pyc"):
        file = chain.folder / "carriedplugin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    place = load_settings()
    settings = place.settings.model_copy(update={"plugins": ["carriedplugin"]})
    place = place.model_copy(update={"settings": settings})
    bundle = _plugins(place)
    assert bundle
    assert set(bundle.files) == {"carriedplugin/__init__.py", "carriedplugin/inner/data.txt"}


@pytest.mark.parametrize(
    "answer", ['{"sweeps": [["states"]]}', '{"sweeps": ["x"]}', '{"sweeps": 3}', "[" * 100_000, "3", ""]
)
def test_an_answer_of_another_shape_is_a_sentence(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    connection = Connection("far", Remote(host="far"))
    monkeypatch.setattr(Connection, "open", lambda _: None)
    monkeypatch.setattr(Connection, "output", lambda *_: answer)
    with pytest.raises(UnavailableError, match="isn't one that this version reads"):
        _status(connection, "tiny")
    monkeypatch.setattr(Connection, "output", lambda *_: f"rsctl 1\n{answer}")
    with pytest.raises(UnavailableError, match="not an rsctl that this version knows"):
        installed(connection)


def test_the_record_of_a_later_command_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(Connection, "base", "/there")
    monkeypatch.setattr(Connection, "start", lambda *_, **__: None)
    monkeypatch.setattr("rsctl.remote.detached.wait_for", lambda *_: 0)
    connection = Connection("far", Remote(host="far"))
    first, same = (claimed(connection, "true", ["submit"]) for _ in range(2))
    assert first.id == same.id
    assert first.run() == 0
    later = claimed(connection, "true", ["submit"])
    assert later.id != same.id
    assert same.run() == 0
    assert claimed(connection, "true", ["submit"]).id == later.id


def test_a_wheel_holds_the_sources_that_run_here() -> None:
    name, data = build_wheel()
    assert name == f"rsctl-{rsctl.__version__}-py3-none-any.whl"
    assert build_wheel()[1] == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        home = Path(rsctl.__file__).parent
        assert archive.read("rsctl/remote/wheel.py") == (home / "remote" / "wheel.py").read_bytes()
        assert {"jobs/__init__.py", "rsctl/_templates/quickstart.toml", "rsctl/docs/remotes.md"} <= set(names)
        assert "torch" in archive.read(f"rsctl-{rsctl.__version__}.dist-info/METADATA").decode()
        record = archive.read(f"rsctl-{rsctl.__version__}.dist-info/RECORD").decode()
        assert [line.partition(",")[0] for line in record.splitlines()] == names


def test_the_folder_of_sockets_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.remote.connection._LONGEST_SOCKET", 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder().stat().st_mode & 0o777 == 0o700
    runtime_folder().chmod(0o755)
    with pytest.raises(RefusedError, match="only you can enter"):
        runtime_folder()


def test_a_pulled_sweep_is_steered_where_it_runs(chain: Chain, capsys: Any) -> None:
    chain.plan(tiny())
    record: Any = {
        "remote": "far",
        "sweep": "there",
        "time": time.time() - 200,
        "states": {"running": 2},
        "progress": 0.5,
        "tasks": {},
    }
    write_pulled(chain.store, "tiny", record)
    file = chain.file(tiny(), "my sweep.toml")
    run_id = chain.counts_run().id
    for words, command in (
        (["cancel", "tiny"], "'rsctl --at far cancel there'"),
        (["cancel", run_id], f"'rsctl --at far cancel {run_id}'"),
        (["cancel", f"{run_id[:-2]}/0"], f"'rsctl --at far cancel {run_id[:-2]}/0'"),
        (["retry", "tiny"], "'rsctl --at far retry there'"),
        (["submit", str(file)], f"'rsctl --at far submit '{file}''"),
    ):
        assert run(words) == 2
        err = capsys.readouterr().err
        assert "runs on far" in err
        assert command in err
    assert run(["status"]) == 0
    assert " 50%  2 running, on far as there 3 min ago" in capsys.readouterr().out
    there = {"state": "running", "reason": "", "node": "gpu7", "done": 30.0, "total": 40.0}
    write_pulled(chain.store, "tiny", {**record, "tasks": {f"counts/{run_id}/1": there}})
    assert run(["status", "tiny", "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["sweeps"][0]["runs"][1]["tasks"]
    assert [(one["state"], one["node"], one["done"]) for one in tasks] == [
        ("new", "", 0.0),
        ("running", "gpu7", 30.0),
    ]


def test_sweeps_of_one_name_are_kept_side_by_side(chain: Chain) -> None:
    assert local_name(chain.store, "far", "tiny") == "tiny"
    chain.plan(tiny())
    assert local_name(chain.store, "far", "tiny") == "tiny-far"
    chain.plan(tiny(name="tiny-far"))
    with pytest.raises(RefusedError, match="other sweeps named tiny and tiny-far"):
        local_name(chain.store, "far", "tiny")
    write_pulled(
        chain.store,
        "tiny-far",
        {"remote": "far", "sweep": "tiny", "time": 0.0, "states": {}, "progress": 1.0, "tasks": {}},
    )
    assert local_name(chain.store, "far", "tiny") == "tiny-far"


def test_the_content_of_a_bundle_is_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    same, other = Bundle({"a": tmp_path / "a"}), Bundle({"b": tmp_path / "a"})
    assert same.id == Bundle({"a": b"1"}).id
    assert len({same.id, other.id, Bundle({"a": b"2"}).id}) == 3
