"""The command line as scripts meet it: exit codes, one JSON document, no torch, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny, toml

from rsctl.cli.app import run
from rsctl.cluster.local.queue import only_one
from rsctl.cluster.local.requests import own_queue
from rsctl.store.layout import Store

HEAVY = {"torch", "torchvision", "accelerate", "sklearn", "jobs"}
INTERFACE = {"textual", "typer", "rich"}


@pytest.fixture
def unserved(chain: Chain) -> Iterator[Chain]:
    """A store whose queue is held by this test: what is submitted waits."""
    with only_one(own_queue(chain.store)) as mine:
        assert mine
        yield chain


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_no_command_of_the_control_plane_imports_torch(unserved: Chain) -> None:
    file = unserved.file(tiny())
    commands = [
        ["--help"], ["--version"], ["templates"], ["new", "quickstart"], ["check", str(file)], ["check", str(file), "--json"],
        ["submit", str(file), "--dry-run"], ["submit", str(file)], ["status"], ["status", "tiny", "--json"],
        ["logs", "gaussian"], ["export", "tiny"], ["export", "tiny", "--format", "csv"], ["cancel", "tiny"], ["retry", "tiny"],
        ["doctor"], ["data", "list"], ["nonsense"], [],
    ]  # fmt: skip
    found = python(
        "import contextlib, io, json, sys\n"
        "from rsctl.cli.app import run\n"
        "found = {}\n"
        f"for command in {commands!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "        run(command)\n"
        f"    bad = sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}})\n"
        "    if bad: found[' '.join(command)] = bad\n"
        "print(json.dumps(found))\n"
    )
    assert json.loads(found) == {}


@pytest.mark.parametrize(
    "module",
    ["rsctl.cluster.local.queue", "rsctl.cluster.task", "rsctl.tui.app", "rsctl.report.tables.formats"],
)
def test_no_room_of_the_control_plane_imports_torch(module: str) -> None:
    names = python(f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    assert HEAVY.isdisjoint(names.split())


def test_help_imports_no_room_at_all() -> None:
    names = python(
        "import contextlib, io, sys\nfrom rsctl.cli.app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()): run(['--help'])\nprint(*sys.modules)"
    ).split()
    assert {"numpy", "h5py", "scipy", "pydantic", "textual"}.isdisjoint(names)


def test_the_data_plane_imports_no_interface() -> None:
    names = python(
        "import importlib, pkgutil, sys, jobs\n"
        "for module in pkgutil.walk_packages(jobs.__path__, 'jobs.'): importlib.import_module(module.name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert INTERFACE.isdisjoint(names.split())


def test_without_a_terminal_the_dashboard_says_so(chain: Chain) -> None:
    done = chain.cli()
    assert done.code == 3
    assert "needs a terminal" in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("exprt mix", "unknown command 'exprt'. Did you mean 'export'? Allowed: attack, "),
        ("data lst", "data: unknown command 'lst'. Did you mean 'list'? Allowed: check, fetch, list, prepare."),
        ("data", "data: needs one of list, fetch, check, prepare. 'rsctl data --help' explains it."),
        ("--foo", "unknown option '--foo'. Allowed: --at, --help, "),
        ("export mix --formt csv", "export: unknown option '--formt'. Did you mean '--format'? Allowed: --alpha, "),
        ("export", "export: SWEEP is missing (Name of the sweep). 'rsctl export --help' explains it."),
        ("plot mix", "plot: -o / --output is missing (FIGURE.pdf, .svg or .png). "),
        ("export mix --alpha x", "export: --alpha: must be a valid number. "),
        ("retry mix --minutes 0", "retry: --minutes: must be greater than or equal to 1. "),
        ("retry mix/0 1", "retry: mix/0 names a task already; leave out 1."),
        ("logs x y", "logs: [N]: must be a valid integer. "),
        ("export a b c", "export: too many arguments: 'b c'. "),
        ("export mix --format", "--format: requires a value. "),
        ("prune --yes=1", "--yes: takes no value. "),
    ],
)  # fmt: skip
def test_wrong_use_is_a_sentence(words: str, said: str, capsys: Any) -> None:
    assert run(words.split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rsctl: ")
    assert said in err
    assert "Usage" not in out + err
    assert err.count("\n") == 1


def test_exit_codes_of_wrong_commands(chain: Chain, capsys: Any) -> None:
    for arguments in (["nonsense"], ["check"], ["status", "--jsn"], ["logs", "x", "one"], ["export", "x"], ["status", "x"],
                      ["logs", "x"], ["cancel", "x"], ["cancel", ""], ["retry", "x"], ["task", "x", "0"], ["data", "fetch", "mnits"],
                      ["export", "x", "--format", "pdf"], ["status", "../.."], ["retry", "a/b"]):  # fmt: skip
        assert run(arguments) == 2, arguments
        said = capsys.readouterr()
        assert said.err
        assert said.out == ""
    assert run(["--help"]) == 0
    assert run(["status"]) == 0


@pytest.mark.parametrize("radii", ["a", "", "0,,1", "-1", "1/0", "nan", "inf", "1/2/3"])
def test_radii_that_are_none_are_refused(unserved: Chain, capsys: Any, radii: str) -> None:
    run(["submit", str(unserved.file(tiny()))])
    capsys.readouterr()
    if radii:
        assert run(["export", "tiny", "--radii", radii]) == 2
        assert "--radii" in capsys.readouterr().err
    for alpha in ("0", "1", "-0.5", "nan", "x"):
        assert run(["export", "tiny", "--alpha", alpha]) == 2
        assert "alpha" in capsys.readouterr().err
    assert run(["export", "tiny", "--certificate", "cohne"]) == 2
    assert "Did you mean 'cohen'?" in capsys.readouterr().err


def strictly(text: str) -> Any:
    """The one JSON document that a text is, by the standard: NaN and Infinity are none."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_exactly_one_document(unserved: Chain, capsys: Any) -> None:
    file = str(unserved.file(tiny()))
    for arguments in (["check", file, "--json"], ["submit", file, "--dry-run", "--json"], ["submit", file, "--json"],
                      ["status", "--json"], ["status", "tiny", "--json"], ["export", "tiny", "--format", "json"], ["doctor", "--json"]):  # fmt: skip
        capsys.readouterr()
        run(arguments)
        strictly(capsys.readouterr().out)


def test_a_name_that_is_taken_is_refused_and_update_says_what_it_changes(
    unserved: Chain, capsys: Any
) -> None:
    assert run(["submit", str(unserved.file(tiny(grid={"sigma": [0.25, 0.5]})))]) == 0
    before = (unserved.store.sweep_folder("tiny") / "plan.json").read_bytes()
    capsys.readouterr()
    changed = str(
        unserved.file(tiny(grid={"sigma": [0.5, 1.0]}, certification={"max_images": 30}), "changed.toml")
    )
    assert run(["submit", changed]) == 2
    assert "exists with other content" in capsys.readouterr().err
    assert (unserved.store.sweep_folder("tiny") / "plan.json").read_bytes() == before
    assert run(["submit", changed, "--update"]) == 0
    said = capsys.readouterr().err
    assert "update: adds gaussian-digits-s1-" in said
    assert "update: drops gaussian-digits-s0.25-" in said
    assert "20 → 30 images" in said
    assert run(["submit", changed]) == 0


def test_the_beginning_of_an_id_is_the_model_of_the_tables_that_begin_with_it(
    unserved: Chain, capsys: Any
) -> None:
    unserved.plan(tiny(grid={"sigma": [0.25, 0.5]}))
    store, model = unserved.store, next(unserved.store.runs("models"))
    (table,) = [run for run in store.runs("counts") if run.id.startswith(model.id)]
    assert store.find_run(model.id[:-2]) == model
    assert store.find_run(table.id[:-2]) == table
    assert store.find_run(f"counts/{model.id[:-2]}") == table
    unserved.plan(tiny(name="more", sigma=float(model.train_spec.sigma), certification={"n": 300}))
    assert store.find_run(model.id[:-2]) == model
    for command in (["logs", "gaussian"], ["task", "gaussian", "0"], ["cancel", "gaussian"]):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert all(one.id in said for kind in ("models", "counts") for one in store.runs(kind)), said


def test_submitting_again_hands_nothing_over_twice(unserved: Chain, capsys: Any) -> None:
    file = str(unserved.file(tiny()))
    first, second = ({}, {})
    for summary in (first, second):
        assert run(["submit", file, "--json"]) == 0
        summary.update(strictly(capsys.readouterr().out))
    assert (first["started"], second["started"]) == (3, 0)
    assert second["tasks"] == 3


@pytest.mark.parametrize("below", ["", "/store"])
@pytest.mark.parametrize("command", [["status"], ["status", "tiny"], ["export", "tiny"], ["logs", "x"], ["cancel", "x"], ["prune"]])  # fmt: skip
def test_a_store_that_is_a_file_is_no_empty_store(
    chain: Chain, capsys: Any, monkeypatch: pytest.MonkeyPatch, command: list[str], below: str
) -> None:
    monkeypatch.setenv("RSCTL_STORE", f"{chain.file('x = 1')}{below}")
    assert run(command) == 2
    assert f"store: {chain.folder / 'sweep.toml'} is a file, not a folder" in capsys.readouterr().err


# ------------------------------------------------------------------ trouble with the disk


@pytest.fixture
def small_disk(chain: Chain) -> Iterator[Path]:
    """A file system of 4 MB at `store`; needs the right to mount."""
    place = chain.folder / "store"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half(chain: Chain, small_disk: Path) -> None:
    file = chain.file(tiny())
    (small_disk / "filler").write_bytes(b"x" * (4 * 2**20 - 65536))
    done = chain.cli("submit", file)
    assert done.code == 3
    assert "the disk is full" in done.err
    assert list(small_disk.rglob(".tmp-*")) == []
    assert chain.cli("status").code == 0


def test_a_read_only_store_is_a_sentence_and_can_be_read(chain: Chain, small_disk: Path) -> None:
    chain.plan(tiny())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (["submit", chain.file(tiny())], ["submit", chain.file(tiny(name="other"), "other.toml")], ["retry", "tiny"]):  # fmt: skip
        done = chain.cli(*arguments)
        assert (done.code, "read-only" in done.err) == (3, True), done.err
    for arguments in (
        ["status"],
        ["status", "tiny", "--json"],
        ["export", "tiny"],
        ["check", chain.file(tiny())],
    ):
        assert chain.cli(*arguments).code == 0
    assert chain.cli("doctor").code == 3
    number = next(chain.store.runs("models"))
    assert chain.cli("task", number.id, "0").code == 3


def test_a_store_that_is_a_file_is_a_sentence(chain: Chain) -> None:
    (chain.folder / "store").write_text("not a folder")
    done = chain.cli("submit", chain.file(tiny()))
    assert done.code == 3
    assert "a part of the path is a file" in done.err
    for arguments in (["status"], ["doctor"], ["export", "tiny"], ["cancel", "tiny"], ["logs", "x"]):
        assert chain.cli(*arguments).code in (0, 2, 3)


def test_a_file_size_limit_is_a_sentence(chain: Chain) -> None:
    file = chain.file(tiny())
    code = (
        "import resource, sys\n"
        "from rsctl.cli.app import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"sys.exit(run(['submit', {str(file)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert "larger than this process may write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_without_greek_letters_gets_no_traceback(chain: Chain) -> None:
    assert chain.cli("check", chain.file(tiny()), PYTHONIOENCODING="ascii").code == 0
    assert chain.cli("templates", PYTHONIOENCODING="ascii").code == 0


def test_a_reader_that_leaves_early_is_no_error(chain: Chain) -> None:
    done = subprocess.run(
        f"{sys.executable} -m rsctl templates | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""


def test_modules_of_the_users_own_folder_are_not_taken_for_ours(chain: Chain) -> None:
    """A folder named jobs, or a file named queue.py, beside the sweep file is nobody's business."""
    for name in ("jobs", "rsctl"):
        (chain.folder / name).mkdir()
        (chain.folder / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    (chain.folder / "tomli.py").write_text("raise SystemExit('the wrong one')")
    file = chain.file(toml(tiny()))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("rsctl")), "submit", str(file)], cwd=chain.folder, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    from chain import wait_until

    queue = own_queue(Store(chain.folder / "store"))
    wait_until(lambda: "started" in queue.log.read_text())
    assert "the wrong one" not in queue.log.read_text()


def test_a_task_that_is_done_is_not_run_again(chain: Chain, capsys: Any) -> None:
    """Another attempt would count its hours twice."""
    chain.run_all(tiny())
    (model,), (counts,) = chain.store.runs("models"), chain.store.runs("counts")
    before = chain.attempts()
    capsys.readouterr()
    for done in (model, counts):
        assert run(["task", done.id, "0"]) == 0
        assert "is already done" in capsys.readouterr().out
        assert run(["task", done.id, "7"]) == 2
        assert "has no task 7. It has: 0" in capsys.readouterr().err
    assert chain.attempts() == before


def test_json_isnt_watched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json", "--watch"]) == 2
    found = capsys.readouterr()
    assert "leave out --watch" in found.err
    assert not found.out


def test_missing_baselines_are_reported(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain.plan(tiny())
    assert run(["export", "tiny", "--baselines"]) == 0
    assert "no published table is on this data set" in capsys.readouterr().err
