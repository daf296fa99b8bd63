"""Commands and options that messages name are taken from the message itself and executed: afterwards what was missing is there.

`EXECUTED` lists every command in the source and the test that executes it; a message with a new one fails here until it has one.
What `dvc` does is done by hand, for it is a program of its own with a server behind it; so is what git-lfs and git-annex do
where they aren't installed. `data fetch` needs the internet: its tests serve the files from this machine.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from folders import shapes
from PIL import Image
from report_cases import make_store

from jobs.checkpoints.formats import read_weights
from rsctl import results
from rsctl.cli.app import run
from rsctl.errors import InputError
from rsctl.store.attempts import Claim, here

ROOT = Path(__file__).parents[2]
HERE = "this file"
EXECUTED = {
    "rsctl": "tests/tui/test_first_steps.py", "rsctl --help": HERE, "rsctl cancel": HERE, "rsctl cancel --dropped": "tests/store/test_dropped.py",
    "rsctl cancel {}": HERE, "rsctl check {}": HERE, "rsctl data check": HERE, "rsctl data check ": HERE, "rsctl data fetch {}": "tests/unit/test_data_published.py",
    "rsctl data list": HERE, "rsctl data prepare imagenet": "tests/unit/test_data_imagenet.py", "rsctl doctor": HERE, "rsctl import": HERE,
    "rsctl import --method": HERE, "rsctl logs RUN --follow": HERE, "rsctl new quickstart": HERE, "rsctl plot": HERE, "rsctl prune": HERE,
    "rsctl retry": "tests/store/test_remedies.py", "rsctl status": HERE, "rsctl status SWEEP": HERE, "rsctl status {}": HERE,
    "rsctl status {} --watch": HERE, "rsctl submit": "tests/store/test_remedies.py", "rsctl submit {}": HERE, "rsctl templates": HERE,
    "rsctl explain": HERE, "rsctl explain METHOD": HERE, "rsctl certify FILE": "tests/store/test_published_runs.py",
    **dict.fromkeys(("rsctl compare", "rsctl compare RUN@0.9+RUN RUN", "rsctl export SWEEP --cascade 0.25,0.5 --tau 0.9"), "tests/unit/test_cascades.py"),
    "rsctl compare SWEEP": "tests/unit/test_cascade_files.py",
    **dict.fromkeys(("rsctl model fetch {}", "rsctl model fetch hf:{}"), "tests/unit/test_library_models.py"),
    "rsctl tune SWEEP --for 0.5": "tests/unit/test_tune.py",
    **dict.fromkeys(("rsctl --at {} {} {}", "rsctl help remotes", "rsctl remote list"), "tests/unit/test_remotes.py"), "rsctl remote setup {}": "tests/remote/test_setup.py",
    **dict.fromkeys(("rsctl export {}", "rsctl pack", "rsctl pack SWEEP --weights", "rsctl verify", "rsctl verify FILE"), "tests/unit/test_packages.py"),
    **dict.fromkeys(("rsctl serve", "rsctl serve --steer"), "tests/tui/test_in_browser.py"),
    "git annex get .": HERE, "dvc pull": HERE, "cp -rL": HERE, "rsctl doctor --share": "tests/store/test_group_store.py",
}  # fmt: skip
COMMAND = re.compile(r"['`]((?:rsctl(?!\[)|git|dvc|cp|chmod|pip|mv|rm|umask|chgrp)\b[^'`]*)['`]")


def sentences(tree: ast.AST) -> list[str]:
    """Every text of a module but its docstrings, values in it as {}."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append(
                "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.append(node.value)
    return found


def test_every_command_that_a_message_names_has_a_test_that_executes_it() -> None:
    files = [*(ROOT / "rsctl").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    named = {
        command for file in files for text in sentences(ast.parse(file.read_text())) for command in COMMAND.findall(text)
    }  # fmt: skip
    assert len(named) > 20
    assert named - EXECUTED.keys() == set()
    assert {where for where in EXECUTED.values() if where != HERE and not (ROOT / where).is_file()} == set()


@pytest.fixture
def unserved(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A store whose queue never starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(chain.folder / "cache"))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    return chain


def named(text: str, pattern: str) -> str:
    """The command or option that a message names."""
    found = re.search(pattern, text)
    assert found, text
    return found[1]


def obey(command: str) -> int:
    """Execute a command of rsctl as a message prints it."""
    words = shlex.split(command)
    assert words[0] == "rsctl"
    return run(words[1:])


# ------------------------------------------------------- data and checkpoints that version control keeps elsewhere


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]  # fmt: skip
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr


def work(folder: Path) -> None:
    """Two classes of images in both splits, and a checkpoint."""
    noise = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    torch.save({"weight": torch.ones(3)}, folder / "best.pt")


class Keeper:
    """A program that leaves pointers in a working tree in place of large files."""

    def __init__(self, program: str, folder: Path) -> None:
        self.installed, self.origin, self.clone = (
            bool(shutil.which(program)),
            folder / "origin",
            folder / "data" / "own",
        )
        self.origin.mkdir()
        work(self.origin)
        self.whole = {
            file.relative_to(self.origin): file.read_bytes()
            for file in self.origin.rglob("*")
            if file.is_file()
        }
        self.clone.parent.mkdir(exist_ok=True)

    def obey(self, command: str) -> None:
        """Execute the command in the clone; where its program isn't installed, put the files there, as it does."""
        if self.installed:
            done = subprocess.run(command, shell=True, cwd=self.clone, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return
        wanted = [word for word in shlex.split(command)[2:] if not word.startswith("-") and word != "."]
        for file, data in self.whole.items():
            if not wanted or str(file) in wanted:
                (self.clone / file).unlink(missing_ok=True)
                (self.clone / file).write_bytes(data)

    def pointers(self, text: Callable[[bytes], str]) -> None:
        """The clone that the program would leave, written by hand."""
        for file, data in self.whole.items():
            (self.clone / file).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / file).write_text(text(data))


def lfs(folder: Path) -> Keeper:
    keeper = Keeper("git-lfs", folder)
    if not keeper.installed:
        keeper.pointers(
            lambda data: (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\nsize {len(data)}\n"
            )
        )
        return keeper
    git(keeper.origin, "init")
    git(keeper.origin, "lfs", "install", "--local")
    git(keeper.origin, "lfs", "track", "*.png", "*.pt")
    git(keeper.origin, "add", "-A")
    git(keeper.origin, "commit", "-m", "all")
    git(folder, "clone", f"file://{keeper.origin}", str(keeper.clone))
    git(keeper.clone, "lfs", "install", "--local", "--skip-smudge")
    return keeper


def annex(folder: Path, *, unlocked: bool) -> Keeper:
    keeper = Keeper("git-annex", folder)
    if not keeper.installed:
        if unlocked:
            keeper.pointers(
                lambda data: f"/annex/objects/SHA256E-s{len(data)}--{hashlib.sha256(data).hexdigest()}\n"
            )
        else:
            for file, data in keeper.whole.items():
                (keeper.clone / file).parent.mkdir(parents=True, exist_ok=True)
                (keeper.clone / file).symlink_to(
                    f"../../.git/annex/objects/{hashlib.sha256(data).hexdigest()}"
                )
        return keeper
    git(keeper.origin, "init")
    git(keeper.origin, "annex", "init")
    git(keeper.origin, "annex", "add", ".")
    if unlocked:
        git(keeper.origin, "annex", "unlock", ".")
    git(keeper.origin, "commit", "-m", "all")
    git(folder, "clone", str(keeper.origin), str(keeper.clone))
    git(keeper.clone, "annex", "init")
    return keeper


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody whom git knows, without settings of their own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        '[user]\nname = a\nemail = a@b.example\n[safe]\ndirectory = *\n[protocol "file"]\nallow = always\n'
    )
    monkeypatch.setenv("HOME", str(home))


@pytest.mark.parametrize(
    ("keep", "advice"),
    [
        pytest.param(lfs, r"(git lfs pull)", id="lfs"),
        pytest.param(lambda folder: annex(folder, unlocked=True), r"(git annex get \.)", id="annex-unlocked"),
        pytest.param(lambda folder: annex(folder, unlocked=False), r"(git annex get \.)", id="annex-links"),
    ],
)
def test_pointers_of_images_become_images_by_the_command_named(
    keep: Callable[[Path], Keeper], advice: str, unserved: Chain, person: None, capsys: Any
) -> None:
    keeper = keep(unserved.folder)
    assert run(["data", "check", "own"]) == 2
    keeper.obey(named(capsys.readouterr().out, advice))
    assert run(["data", "check", "own"]) == 0
    assert (keeper.clone / "train/ant/0.png").read_bytes() == keeper.whole[Path("train/ant/0.png")]


@pytest.mark.parametrize(
    ("keep", "advice"),
    [
        pytest.param(lfs, r"(git lfs pull --include \S+)", id="lfs"),
        pytest.param(lambda folder: annex(folder, unlocked=True), r"(git annex get \S+)", id="annex"),
    ],
)
def test_a_pointer_of_a_checkpoint_becomes_one_by_the_command_named(
    keep: Callable[[Path], Keeper], advice: str, chain: Chain, person: None
) -> None:
    keeper = keep(chain.folder)
    file = keeper.clone / "best.pt"
    with pytest.raises(InputError) as caught:
        read_weights(file)
    keeper.obey(named(str(caught.value), advice))
    assert torch.equal(torch.load(file, weights_only=True)["weight"], torch.ones(3))


def test_a_pointer_of_dvc_names_the_file_that_comes_instead(chain: Chain) -> None:
    data = b"the checkpoint"
    file = chain.folder / "best.pt.dvc"
    file.write_text(f"outs:\n- md5: {hashlib.md5(data).hexdigest()}\n  size: {len(data)}\n  path: best.pt\n")
    with pytest.raises(InputError) as caught:
        read_weights(file)
    assert named(str(caught.value), r"(dvc pull \S+);") == "dvc pull best.pt.dvc"
    assert "then give best.pt" in str(caught.value)


def test_links_of_a_copied_tree_are_followed_by_the_copy_named(unserved: Chain, capsys: Any) -> None:
    store, own = unserved.folder / "elsewhere", unserved.folder / "data" / "own"
    work(store)
    away = unserved.folder / "not mounted"
    for file in store.rglob("*.png"):
        link = own / file.relative_to(store)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(file, link.parent))
    store.rename(away)
    assert run(["data", "check", "own"]) == 2
    command = named(capsys.readouterr().out, r"`(cp -rL)`")
    away.rename(store)
    assert subprocess.run([*shlex.split(command), str(own), str(own.parent / "copy")]).returncode == 0
    away = store.rename(away)
    assert run(["data", "check", "copy"]) == 0


# ------------------------------------------------------------------------------------- memory


LIMITED = """
import resource, runpy, sys, torch
import accelerate, jobs.training.train
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]), held + int(sys.argv[1])))
sys.argv = ["task", *sys.argv[2:]]
runpy.run_module("rsctl.cluster.task", run_name="__main__", alter_sys=True)
"""


def test_a_smaller_batch_fits_where_a_larger_did_not(chain: Chain) -> None:
    """Within 768 MB of address space beside what is loaded: the process ends by itself, and takes no other with it."""
    shapes(chain.folder / "data" / "own", train=(20, 20, 20), test=(1, 1, 1), size=16)

    def trained(batch: int) -> subprocess.CompletedProcess[str]:
        values = tiny(
            dataset={"name": "imagefolder", "path": "own", "size": 16}, model={"name": "cnn", "width": 64},
            method={"name": "macer", "noises": 128, "lbd": 0.0}, training={"epochs": 1, "batch_size": batch, "warmup_epochs": 0.0},
            certification={"max_images": 1},
        )  # fmt: skip
        task = chain.plan(values, update=True).requests[0].task
        command = [sys.executable, "-c", LIMITED, str(3 * 2**28), str(task.run.path), str(task.number)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)

    failed = trained(60)
    text = failed.stdout + failed.stderr
    assert failed.returncode == 1, text
    assert "Traceback" not in text
    assert "training.batch_size = 60: out of memory" in text, text
    assert "Take a smaller one" in text
    done = trained(2)
    assert done.returncode == 0, done.stderr[-2000:]


# ------------------------------------------------------------------------------------- imports


HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"
RADII = ["0\t3\t3\t0.25\t1\t1", "20\t8\t8\t0.9\t1\t1", "40\t8\t-1\t0.0\t0\t1", "60\t0\t1\t0.5\t0\t1"]
COUNTS = "idx\tlabel\tpredict\tcount\tcorrect\n0\t3\t3\t98231\t1\n20\t5\t2\t61200\t0\n"
LOG = "\n".join([HEADER, *RADII]) + "\n"
ASKED: dict[str, tuple[str, str, str, str]] = {
    "sigma, nothing tells": ("result.tsv", LOG, r"(--sigma)", "0.5"),
    "sigma, several fit": ("0.25/0.50.tsv", LOG, r"(--sigma)", "0.5"),
    "sigma, a percentage": ("sigma_25/log.tsv", LOG.replace("0.9", "0.953"), r"(--sigma)", "0.25"),
    "sigma of nothing": ("sigma_0.0/log.tsv", LOG, r"(--sigma)", "0.5"),
    "n of counts": ("sigma_0.50/log.tsv", COUNTS, r"Give it with (--n)\b", "100000"),
    "other noise": ("laplace/sigma_0.50/log.tsv", LOG, r"confirm it with (--certificate \S+)", ""),
    "name of a method": ("sigma_0.50/log.tsv", LOG, r"(--method) sets another name", "Ours"),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_what_an_import_asks_for_is_given_by_the_option_named(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "runs"))
    path, text, pattern, value = ASKED[case]
    file = tmp_path / "logs" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    given = ["import", str(tmp_path / "logs"), "--name", "public"]
    code = run(given)
    told = capsys.readouterr()
    option = shlex.split(named(told.out + told.err, pattern))
    assert code == (0 if option == ["--method"] else 2)
    assert run([*given, *option, *([value] if value else [])]) == 0
    assert "1 new" in (said := capsys.readouterr().out) or "1 changed" in said or "method 'Ours'" in said


# ------------------------------------------------------------------------------------- tables, figures, logs


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store, _ = make_store(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(store.root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "taken"),
    [
        ("export sweep -o mine.md", "mine.md"),
        ("export sweep -o mine.csv", "mine.csv"),
        ("plot sweep -o mine.svg", "mine.svg"),
        ("export sweep --format tsv -o mine", "mine/rsctl-logs.json"),
    ],
)
def test_what_is_there_already_is_replaced_by_the_option_or_kept_by_another_name(
    command: str, taken: str, reported: Path, capsys: Any
) -> None:
    Path(taken).parent.mkdir(exist_ok=True)
    Path(taken).write_text("mine")
    words = command.split()
    assert run(words) == 2
    said = capsys.readouterr().err
    assert "Give another " in said
    option = named(said, r"or (--force) to replace it")
    assert run([word.replace("mine", "other") for word in words]) == 0
    assert Path(taken).read_text() == "mine"
    assert run([*words, option]) == 0
    assert Path(taken).read_bytes() != b"mine"


def test_a_figures_ending_names_the_command_that_makes_it(reported: Path, capsys: Any) -> None:
    assert run(["export", "sweep", "-o", "figure.svg"]) == 2
    command = named(capsys.readouterr().err, r"`(rsctl plot)`")
    assert obey(f"{command} sweep -o figure.svg") == 0


def test_exported_logs_come_back_by_the_command_named(reported: Path, capsys: Any) -> None:
    assert run(["export", "sweep", "--format", "tsv", "-o", "logs"]) == 0
    told = capsys.readouterr()
    assert obey(named(told.out + told.err, r"'(rsctl import)'") + " logs --name again") == 0


def test_what_is_no_result_names_the_commands_that_list_them(reported: Path, capsys: Any) -> None:
    with pytest.raises(InputError) as caught:
        results.open(reported)
    assert obey(named(str(caught.value), r"'(rsctl status)'")) == 0
    assert "sweep" in capsys.readouterr().out
    assert obey(named(str(caught.value), r"'(rsctl status SWEEP)'").replace("SWEEP", "sweep")) == 0


# ------------------------------------------------------------------------------------- sweeps


def test_the_first_steps_that_status_names_lead_to_a_sweep(unserved: Chain, capsys: Any) -> None:
    assert run(["status"]) == 0
    text = capsys.readouterr().out
    assert obey(named(text, r"'(rsctl templates)'")) == 0
    assert obey(named(text, r"'(rsctl new [a-z]+)'")) == 0
    text = capsys.readouterr().out
    assert obey(named(text, r"'(rsctl check [^']+)'")) == 0
    assert obey(named(text, r"'(rsctl submit [^']+)'")) == 0
    text = capsys.readouterr().err
    assert obey(named(text, r"'(rsctl status \S+) --watch'")) == 0
    run_id = unserved.store.runs("models").__iter__().__next__().id
    assert obey(named(text, r"'(rsctl logs RUN) --follow'").replace("RUN", run_id)) in (
        0,
        2,
    )  # nothing runs yet
    assert "Traceback" not in capsys.readouterr().err


def test_what_prune_leaves_for_being_young_goes_with_the_option_named(unserved: Chain, capsys: Any) -> None:
    unserved.plan(tiny())
    (unserved.store.sweep_folder("tiny") / "plan.json").unlink()
    assert run(["prune"]) == 0
    said = capsys.readouterr().err
    command = named(said, r"'(rsctl prune)' again later")
    now = named(said, r"or add (--now)")
    assert obey(f"{command} {now}") == 0
    option = named(capsys.readouterr().err, r"add (--yes) to remove them")
    assert list(unserved.store.runs("models"))
    assert obey(f"{command} {now} {option}") == 0
    assert not list(unserved.store.runs("models"))
    for file in unserved.store.root.rglob("launch.json"):
        os.utime(file, (0, 0))
    assert obey(command) == 0


def test_what_prune_refuses_at_work_goes_after_the_cancellation_named(unserved: Chain, capsys: Any) -> None:
    (request, *_) = unserved.plan(tiny()).requests
    claim = Claim.take(request.task.run, request.task.number, here())
    assert run(["prune", "tiny", "--now"]) == 2
    command = named(capsys.readouterr().err, r"'(rsctl cancel)' them first, or wait")
    claim.end("stopped", "as the queue does with what is cancelled")
    assert obey(f"{command} tiny") == 0
    assert run(["prune", "tiny", "--now", "--yes"]) == 0
    assert not list(unserved.store.runs("models"))


def test_a_run_of_no_sweep_is_found_by_the_command_named(unserved: Chain, capsys: Any) -> None:
    unserved.plan(tiny())
    assert run(["logs", "nothing-of-this-name"]) == 2
    assert obey(named(capsys.readouterr().err, r"'(rsctl status SWEEP)'").replace("SWEEP", "tiny")) == 0
    assert next(iter(unserved.store.runs("models"))).id in capsys.readouterr().out


def test_an_image_that_cannot_be_read_names_the_check_of_its_folder(unserved: Chain, capsys: Any) -> None:
    shapes(unserved.folder / "data" / "my own", train=(3, 3, 3), test=(2, 2, 2), size=8)
    bad = unserved.folder / "data" / "my own" / "train" / "disc" / "000.png"
    bad.write_bytes(b"")
    values = tiny(
        dataset={"name": "imagefolder", "path": "my own", "size": 8}, certification={"max_images": 2}
    )
    assert run(["submit", str(unserved.file(values))]) == 2
    command = named(capsys.readouterr().err, r"`(rsctl data check '[^`]+')` opens every file")
    assert obey(command) == 2
    assert str(bad) in capsys.readouterr().out
    bad.unlink()
    assert obey(command) == 0
    assert run(["submit", str(unserved.file(values))]) == 0


def test_the_dashboard_without_a_terminal_names_the_help(chain: Chain, capsys: Any) -> None:
    assert run([]) == 3
    assert obey(named(capsys.readouterr().err, r"'(rsctl --help)'")) == 0
    assert run(["data", "fetch", "--help"]) == 0
    assert obey(named(capsys.readouterr().out, r"'(rsctl data list)'")) == 0


def test_an_open_store_is_listed_by_the_doctor_named(unserved: Chain, capsys: Any) -> None:
    unserved.store.root.mkdir(parents=True)
    for folder in (unserved.store.root, unserved.folder / "plugins"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    assert obey("rsctl doctor") in (0, 1, 3)
    assert str(unserved.store.root) in capsys.readouterr().out


def test_a_name_that_nothing_has_is_found_in_the_list_named(chain: Chain, capsys: Any) -> None:
    assert run(["explain", "nothing-of-this-name"]) == 2
    command = named(capsys.readouterr().err, r"'(rsctl explain)' lists every name")
    assert obey(command) == 0
    assert "macer" in capsys.readouterr().out
    assert obey(f"{command} macer") == 0
