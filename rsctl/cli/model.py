"""Published weights of libraries: `rsctl model fetch`, and the files that `timm:NAME` and the like name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from rsctl.errors import InputError, UnavailableError

LIBRARIES = ("torchvision", "timm", "hf")


def model_fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="torchvision:NAME, timm:NAME or hf:OWNER/NAME.")
    ],
) -> None:
    """Download the published weights of a library's network, on a machine with internet. No code is downloaded."""
    print(_located(name, "--fetch")["file"])


def named_weights(name: str) -> Path | None:
    """The file or folder of `library:architecture` on this machine; None where `name` is a file's. Raises InputError if it isn't there."""
    if name.partition(":")[0] not in LIBRARIES or ":" not in name or Path(name).exists():
        return None
    file = _located(name)["file"]
    if file is None:
        raise InputError(
            f"{name}: its weights aren't on this machine. 'rsctl model fetch {name}' downloads them where there is internet."
        )
    return Path(file)


def _located(name: str, *options: str) -> dict[str, Any]:
    from rsctl.modules import module_command

    # torch is loaded in a separate process.
    done = subprocess.run(
        module_command("jobs.library_weights", name, *options), stdout=subprocess.PIPE, stderr=None if options else subprocess.PIPE,
        text=True,
    )  # fmt: skip
    if done.returncode == InputError.exit_code:
        raise InputError(_last_line(done.stderr))
    if done.returncode:
        raise UnavailableError(_last_line(done.stderr))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else "the weights couldn't be located; the reason is above"
