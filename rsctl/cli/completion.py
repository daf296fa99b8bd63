"""Shell completion of command arguments, looked up by the argument's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

from typer.models import ParameterInfo

from rsctl import completion
from rsctl.completion import Names, one_of

BY_NAME: dict[str, Names] = {
    "sweep": completion.sweeps,
    "sweeps": completion.sweeps,
    "name": completion.sweeps,
    "names": completion.sweeps_and_runs,
    "run_name": completion.runs,
    "first": completion.compared,
    "second": completion.subjects,
    "template": completion.templates,
    "certificate": completion.certificates,
    "method": completion.methods,
    "model": completion.models,
    "arch": completion.models,
    "dataset": completion.datasets,
    "cluster": completion.profiles,
    "table": completion.published,
    "baseline": completion.published,
    "form": one_of("md", "csv", "latex", "json", "tsv"),
    "cascade": completion.levels,
    "objective": one_of("acr", "0.25", "0.5", "1.0"),
    "tau": one_of("0.5", "0.6", "0.7", "0.8", "0.9"),
    "to": one_of("tensorboard", "wandb", "mlflow"),
    "kind": one_of("curve", "envelope", "ecdf", "hours", "classes", "families"),
}
OF_COMMAND: dict[str, dict[str, Names]] = {
    "explain": {"name": completion.explained},
    "help_": {"topic": completion.topics},
    "retry": {"name": completion.sweeps_and_runs},
    "data_fetch": {"name": completion.datasets},
    "data_check": {"name": completion.datasets},
    "data_prepare": {"name": one_of("imagenet")},
    "pull": {"name": completion.remotes},
    "remote_setup": {"name": completion.remotes},
    "remote_check": {"name": completion.remotes},
}
"""Exceptions: arguments whose name has another meaning in one command."""


def completed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with completions for its arguments; files are completed by their type."""
    known = {**BY_NAME, **OF_COMMAND.get(command.__name__, {})}
    hints = get_type_hints(command, include_extras=True)
    for name, hint in hints.items():
        for info in get_args(hint):
            if isinstance(info, ParameterInfo) and name in known:
                info.autocompletion = known[name]
    command.__annotations__ = hints
    return command
