"""Command that chooses a cascade of noise levels on held-out images."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rsctl.cli.common import AsJson, tell
from rsctl.cli.numbers import parse_objective
from rsctl.errors import InputError


def tune(
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help='Name of a sweep on held-out images (split = "val").')
    ],
    objective: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="RADIUS",
            help="Certified accuracy at this radius; radii with weights, such as 0.25:1,0.5:2; or acr.",
        ),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="Only this method; may be repeated."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Use another failure probability on the same counts.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Choose levels, order and threshold of a cascade on held-out images; prints it as [[cascade]] of a sweep file."""
    from rsctl.catalog import plugin_problems
    from rsctl.config.settings import load_settings
    from rsctl.report.tuned import choice_json, choice_text
    from rsctl.results.tune import tune_cascades
    from rsctl.store.layout import Store

    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"--alpha: must be inside (0, 1), but it is {alpha}.")
    goal = parse_objective(objective)
    tell(plugin_problems())
    found, notes = tune_cascades(Store(load_settings().store), sweep, goal, methods=method or (), alpha=alpha)
    print(json.dumps([choice_json(one) for one in found], indent=1) if as_json else choice_text(found))
    tell(notes)
