"""What the shell completes, what a submission says of watching, and a machine with SLURM's commands and no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from chain import Chain, tiny

from rsctl import completion


def complete(words: str, last: str, **environment: str) -> list[str]:
    """What a shell is told for `rsctl WORDS… LAST` with the cursor at its end."""
    done = subprocess.run(
        [sys.executable, "-m", "rsctl"], capture_output=True, text=True, check=True,
        env={
            **os.environ, **environment, "_RSCTL_COMPLETE": "complete_bash", "COMP_WORDS": f"rsctl {words} {last}",
            "COMP_CWORD": str(len(words.split()) + 1), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_knows_what_the_store_and_the_catalog_hold(chain: Chain) -> None:
    chain.plan(tiny())
    model, counts = (next(chain.store.runs(kind)).id for kind in ("models", "counts"))
    assert complete("export", "ti") == ["tiny"]
    assert set(complete("logs", "gauss")) == {model, counts}
    assert set(complete("retry", "")) >= {"tiny", model, counts}
    assert complete("new", "quicks") == ["quickstart"]
    assert complete("export tiny --certificate", "coh")[0] == "cohen"
    assert complete("submit x.toml --cluster", "tw") == ["two"]
    assert complete("data fetch", "dig") == ["digits"]
    assert complete("explain", "smooth") == ["smoothadv", "smoothmix"]
    assert complete("help", "plug") == ["plugins"]


@pytest.mark.parametrize("settings", ["store = 5", "no toml"])
def test_a_completion_never_fails(chain: Chain, tmp_path: Path, settings: str) -> None:
    (tmp_path / "rsctl.toml").write_text(settings)
    assert complete("export", "") == []


def test_every_name_that_a_command_takes_is_completed() -> None:
    """By the commands themselves: an argument that is added must be completed, or be a file, a number or free text."""
    import typer

    from rsctl.cli.app import app

    free = {
        "output", "file", "logs", "task", "number", "minutes", "memory_gb", "alpha", "radii", "sigma", "seed", "split", "n", "n0",
        "radius", "width", "skip", "max_images", "tile", "shards", "normalisation", "settings", "which", "target", "norm", "images",
        "precision", "compile_mode", "arithmetic", "threads", "install_completion", "show_completion", "part", "licence", "without", "origin", "redraw", "every", "host", "port", "of",
    }  # fmt: skip
    group = typer.main.get_command(app)
    missing = {
        f"{name} {param.name}"
        for name, command in group.commands.items()
        for param in command.params
        if not getattr(param, "is_flag", False) and param.name not in free
        and getattr(param, "_custom_shell_complete", None) is None
    }  # fmt: skip
    assert missing == set()


def test_files_and_lists_go_on_in_prompts(tmp_path: Path) -> None:
    (tmp_path / "one.toml").touch()
    (tmp_path / "odd").mkdir()
    (tmp_path / ".hidden").touch()
    assert completion.files(f"{tmp_path}/o") == [f"{tmp_path}/odd/", f"{tmp_path}/one.toml"]
    assert completion.files(f"{tmp_path}/none/x") == []
    assert completion.files(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    listed = completion.listed(["cohen", "cohen-l1", "runner-up"])
    assert listed("cohen, ru") == ["cohen, runner-up"]
    assert listed("cohen,coh") == ["cohen,cohen-l1"], "each once"


def test_a_submission_says_how_to_watch_it(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    said = chain.cli("submit", str(chain.file(tiny()))).err
    assert "rsctl status tiny --watch" in said
    assert "'rsctl' opens the dashboard" in said


@pytest.mark.parametrize(
    "words", ["scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host", ""]
)
def test_slurm_commands_without_a_cluster_are_no_problem(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for name in ("squeue", "scontrol", "sinfo"):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    done = chain.cli("doctor")
    lines = [line for line in done.out.splitlines() if " slurm: " in line]
    assert lines == [
        "ok       slurm: its commands are installed, but no cluster answers; tasks run on this machine"
    ]
    assert done.code == 0
    with (tmp_path / "rsctl.toml").open("a") as file:
        file.write('[profiles.gpu]\nbackend = "slurm"\n')
    done = chain.cli("doctor")
    assert done.code == 3, "somebody who names a cluster wants to know"
    assert "PROBLEM  slurm:" in done.out
