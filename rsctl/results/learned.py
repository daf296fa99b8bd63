"""Warnings about runs whose network learned nothing, and about seeds that are missing from a line."""

from __future__ import annotations

from collections.abc import Sequence

from rsctl.results.lines import Line, groups
from rsctl.results.measurement import Measurement
from rsctl.store.attempts import latest_attempt
from rsctl.store.degenerate import Verdict, warning_of
from rsctl.store.layout import Store
from rsctl.text import counted


def about_degenerate(rows: Sequence[Measurement]) -> list[str]:
    """A sentence per network, whatever the number of its tables and certificates."""
    found: dict[str, str] = {}
    for row in rows:
        if row.degenerate:
            network = row.training.run_id if row.own else row.run
            found.setdefault(network, describe_verdict(network, row.degenerate))
    return list(found.values())


def describe_verdict(run: str, verdict: Verdict) -> str:
    """The warning that the numbers of a network are invalid."""
    return (
        f"{run} LEARNED NOTHING: {warning_of(verdict)}. Or its inputs are preprocessed differently from its training. "
        "Its numbers are not valid results."
    )


def about_missing(store: Store, rows: Sequence[Measurement]) -> list[str]:
    """The seeds that are missing from the lines of a table, with the reason where it is known."""
    notes: dict[str, None] = {}
    for group in groups(rows):
        for line in group.lines:
            for row in line.missing:
                notes[_missing(store, line, row)] = None
    return list(notes)


def _missing(store: Store, line: Line, row: Measurement) -> str:
    seeds = ", ".join(str(one.seed) for one in line.rows)
    why = _why(store, row.table_spec.model_run, row.kind, row.run) if row.own else ""
    return (
        f"{line.label}, σ = {row.sigma:g}: of {counted(len(line.every), 'seed')}, seed {row.seed} is missing"
        f" ({why or 'no finished image yet'}); the numbers are over {'seed' if len(line.rows) == 1 else 'seeds'} {seeds}."
    )


def _why(store: Store, model: str, kind: str, table: str) -> str:
    """The reason why the last attempt at its training failed, or at a task of its table."""
    for run, what in ((store.run("models", model), "training"), (store.run(kind, table), "certification")):
        for task in [0] if what == "training" else run.task_numbers():
            attempt = latest_attempt(run, task)
            if attempt and attempt.ended == "failed":
                return f"its {what} failed: {attempt.reason.rstrip('.')}"
    return ""
