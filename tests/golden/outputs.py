"""Outputs of commands on the golden store, without sentences: their words may change, names, states and numbers don't."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from sweeps import CANCELLED, FAILING, FINISHED, MAIN, PARTIAL, TRAINING, WAITING

import rsctl.results
from rsctl.certificates import certificates
from rsctl.cli.app import run
from rsctl.errors import UserError
from rsctl.store.layout import Store

PLANNED = [one["name"] for one in (MAIN, PARTIAL, TRAINING, FAILING, CANCELLED, WAITING)] + [
    *FINISHED,
    "checkpoint",
]
SENTENCES = {
    "notes",
    "reason",
    "learned_nothing",
    "guarantee",
    "damaged",
    "subset",
    "settings",
    "citation",
    "said",
    "sources",
}
CHANGING = {"node", "seconds_left", "hours", "memory_gb", "git", "again"}
"""Keys that depend on this machine or on the time of day."""


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and stdout of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return code, out.getvalue()


def plain(value: Any, root: Path) -> Any:
    """A JSON value without sentences, machine and place."""
    if isinstance(value, dict):
        return {key: plain(one, root) for key, one in value.items() if key not in SENTENCES | CHANGING}
    if isinstance(value, list):
        return [plain(one, root) for one in value]
    return value.replace(str(root), "@ROOT@") if isinstance(value, str) else value


def of_commands(root: Path) -> dict[str, Any]:
    """Status, check and every export of every sweep."""
    found: dict[str, Any] = {}

    def as_json(*arguments: str) -> None:
        code, out = command(*arguments)
        found[" ".join(arguments)] = [code, plain(json.loads(out), root) if out.strip() else None]

    as_json("status", "--json")
    for name in (
        "main",
        "partial",
        "training",
        "failing",
        "cancelled",
        "waiting",
        "teacher",
        "chance",
        "public",
    ):
        as_json("status", name, "--json")
    for name in [*PLANNED, "public"]:
        as_json("export", name, "--format", "json")
    for name in ("main", "proofs", "looks", "public"):
        code, out = command("export", name, "--format", "csv")
        found[f"export {name} csv"] = [code, [*csv.reader(io.StringIO(out))][:1]]
        for form, mark in (("md", "|"), ("latex", "&")):
            code, out = command("export", name, "--format", form)
            found[f"export {name} {form}"] = [code, [line for line in out.splitlines() if mark in line]]
    for name in ("main", "proofs", "teacher", "folder", "checkpoint", "failing"):
        as_json("check", f"{name}.toml", "--json")
    for certificate in ("cohen", "t-certify", "top-2", "cohen-linf"):
        as_json(
            "export",
            "main",
            "--format",
            "json",
            "--certificate",
            certificate,
            "--alpha",
            "0.01",
            "--radii",
            "0,0.1,2/255",
        )
    first, second = [
        one.path.name
        for one in Store(root / "store").runs("counts")
        if one.id.startswith("gaussian-digits-s0.25")
    ][:2]
    as_json("compare", first, second, "--json")
    return found


def of_tables(root: Path) -> dict[str, Any]:
    """Every image of every table under every certificate that takes it, by `rsctl.results`."""
    found: dict[str, Any] = {}
    store = root / "store"
    for kind in ("counts", "verifications", "imports"):
        for folder in sorted((store / kind).iterdir()):
            one = rsctl.results.open(folder)
            key = f"{kind}/{folder.name}"
            found[key] = _images(one) | {
                "index": one.index.tolist(),
                "label": one.label.tolist(),
                "problems": len(one.problems),
            }
            for name in certificates() if kind == "counts" else ():
                # A refusal is a result, too.
                with contextlib.suppress(UserError):
                    found[f"{key} {name}"] = _images(one.certify(name, alpha=0.01))
    return found


def _images(one: Any) -> dict[str, Any]:
    return {"predicted": one.predicted.tolist(), "radius": np.asarray(one.radius, float).tolist()}


def everything(root: Path) -> dict[str, Any]:
    os.chdir(root)
    return {"commands": of_commands(root), "tables": of_tables(root)}
