"""The card of a package: what it holds, how it was made, what it guarantees, on what hardware, and under which licence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rsctl import __version__
from rsctl.config.runs import TrainSpec
from rsctl.report.figures.series import task_hours
from rsctl.report.typeset import escape_markdown
from rsctl.results.measurement import Measurement
from rsctl.results.notes import about_resize
from rsctl.results.sweep import Results
from rsctl.results.tuned import about_tuned
from rsctl.store.attempts import attempt_numbers, read_attempt
from rsctl.store.layout import Run, Store
from rsctl.store.run_kinds import RunKind
from rsctl.text import counted

UNSTATED = "not stated by the author of the package"

_OUTPUTS = 20
"""Most outputs of a network that are listed."""
MISSING = "## Missing"
"""Heading of its last section."""


def card(
    sweep: str, store: Store, results: Results, *, licence: str, weights: bool, notes: Sequence[str] = ()
) -> str:
    """The text of CARD.md, from the composed store."""
    runs = [run for kind in RunKind for run in store.runs(kind)]
    rows = results.measurements
    described = escape_markdown(" ".join(results.description.split()))
    lines = [
        f"# {sweep}",
        "",
        *([described, ""] if described else []),
        "## What",
        "",
        *_listed("Data", (f"{row.dataset} {row.split}, {row.subset}" for row in rows)),
        *_listed("Models", (row.model for row in rows)),
        *_listed("Outputs used as the classes", map(_outputs, runs)),
        *_listed("Methods", (row.method for row in rows)),
        f"- Runs: {', '.join(_numbers(runs))}",
        f"- Weights: {'included' if weights else 'not included'}",
        "",
        "## How",
        "",
        *_listed("Certificates and verifiers", (_certificate(row) for row in rows)),
        "- The settings of every run are in `runs/*/*/spec.json`, the sweep file is `sweep/sweep.toml`.",
        "",
        "## Guarantee",
        "",
        *_listed("", (f"{row.certificate}: {row.guarantee}" for row in rows)),
        *_listed("", [*about_tuned(results.cascades), *about_resize(results.rows)]),
        "",
        "## Hardware and hours",
        "",
        *_listed("Devices", sorted(_devices(runs))),
        f"- Hours: {_hours(runs)}",
        *_listed("Versions", sorted(_versions(runs))),
        "",
        "## Licence of the data",
        "",
        licence.strip() or UNSTATED,
        "",
        "## Verify",
        "",
        f"Packed by rsctl {__version__}. `rsctl verify FILE` recomputes every number of `tables/` from the counts in `runs/`; `rsctl unpack",
        "FILE` puts the runs into a store.",
        "",
    ]
    if notes:
        lines += [MISSING, "", *(f"- {escape_markdown(note)}" for note in notes), ""]
    return "\n".join(lines)


def _listed(what: str, values: Iterable[str]) -> list[str]:
    found = [escape_markdown(value) for value in dict.fromkeys(values) if value]
    if not what:
        return [f"- {value}" for value in found]
    return [f"- {what}: {'; '.join(found)}"] if found else []


def _certificate(row: Measurement) -> str:
    numbers = (("n", row.n), ("n0", row.n0), ("alpha", row.alpha)) if row.estimated else ()
    about = ", ".join(f"{name} = {value:g}" for name, value in numbers if value is not None)
    return f"{row.certificate} ({about})" if about else row.certificate


def _outputs(run: Run) -> str:
    """The network's output for each class, where the spec of a model chooses them."""
    spec = run.spec
    chosen = spec.model_parameters.get("outputs") if isinstance(spec, TrainSpec) else None
    if not isinstance(chosen, list) or not chosen:
        return ""
    return f"{', '.join(map(str, chosen[:_OUTPUTS]))}{', …' if len(chosen) > _OUTPUTS else ''}"


def _numbers(runs: Sequence[Run]) -> list[str]:
    what = {
        RunKind.MODELS: "model",
        RunKind.COUNTS: "table of counts",
        RunKind.VERIFICATIONS: "verification",
        RunKind.ATTACKS: "attack",
    }
    several = {RunKind.COUNTS: "tables of counts"}
    found = ((kind, sum(run.kind is kind for run in runs)) for kind in RunKind)
    return [counted(number, what[kind], several.get(kind, "")) for kind, number in found if number] or [
        "none"
    ]


def _devices(runs: Iterable[Run]) -> set[str]:
    return {
        str(device)
        for run in runs
        for task, numbers in attempt_numbers(run).items()
        for number in numbers
        if (device := read_attempt(run, task, number).progress.get("device"))
    }


def _hours(runs: Iterable[Run]) -> str:
    """Hours of one GPU, or of one process, by kind of run."""
    parts = []
    runs = list(runs)
    for kind in RunKind:
        hours = [value for run in runs if run.kind is kind and not math.isnan(value := task_hours(run))]
        if hours:
            parts.append(f"{kind.stage} {sum(hours):.3g}")
    return f"{', '.join(parts)} (of one GPU, or of one process without one)" if parts else "not recorded"


def _versions(runs: Iterable[Run]) -> set[str]:
    found = (run.launch().get("provenance", {}).get("versions", {}) for run in runs)
    return {
        ", ".join(f"{name} {version}" for name, version in versions.items()) for versions in found if versions
    }
