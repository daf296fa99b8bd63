"""Command that mirrors training curves into files of another tool."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from rsctl.cli.common import AsJson
from rsctl.errors import InputError
from rsctl.text import counted


def mirror(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="Names of sweeps.")],
    to: Annotated[
        str,
        typer.Option("--to", help="tensorboard, wandb or mlflow; by default `mirror` of rsctl.toml."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write training curves as event files for TensorBoard, offline runs of wandb, or an MLflow file store. Safe to repeat."""
    import json

    from rsctl.config.settings import load_settings
    from rsctl.mirror.mirror import SHOWN_BY, mirror_sweep
    from rsctl.store.layout import Store

    place = load_settings()
    tool = to or place.settings.mirror
    if tool == "off":
        raise InputError(
            "mirror: no tool is set. Give --to tensorboard, wandb or mlflow, or set `mirror` in rsctl.toml."
        )
    found = {name: mirror_sweep(Store(place.store), name, tool) for name in dict.fromkeys(sweeps)}
    if as_json:
        print(
            json.dumps(
                {name: {"folder": str(one.folder), "points": one.points} for name, one in found.items()}
            )
        )
        return
    for name, one in found.items():
        print(
            f"{name}: {counted(sum(one.points.values()), 'new point')} of {counted(len(one.points), 'training')} in {one.folder}"
        )
        shown = SHOWN_BY[tool].format(folder=shlex.quote(str(one.folder)))
    print(f"Show it with: {shown}", file=sys.stderr)
