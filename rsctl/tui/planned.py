"""The runs of a sweep, from its plan and the logs imported beside it; read again when these files change.

The only module of the dashboard that reads a plan's entries into rows. Imported on a background thread only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsctl.config.cascades import cascade_title
from rsctl.config.run_settings import settings_of, told_apart
from rsctl.config.sections import Certification
from rsctl.errors import UserError
from rsctl.plain import plain
from rsctl.plan.tasks import Task
from rsctl.results.logs import alike_logs
from rsctl.results.rounding import plain as setting_text
from rsctl.store.imports import ShownImport, find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import CascadeEntry, PlanRecord
from rsctl.store.pulled import FILE, pulled
from rsctl.store.run_kinds import RunKind
from rsctl.store.sharing import owner_of_sweep
from rsctl.tui.views import CASCADES


@dataclass
class PlannedRun:
    """A row of a sweep: a run as planned, or an imported log; read once."""

    key: str
    model: str
    counts: str
    settings: dict[str, Any]
    values: dict[str, Any]
    tasks: dict[Run, dict[str, Task]]
    """By their run and key."""
    problem: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    """Parts of its title, by setting."""
    name: str = ""
    """The part of the title that distinguishes it from the sweep's other runs."""

    @property
    def title(self) -> str:
        """The whole name of the run."""
        return _joined(self.parts) if self.parts else self.counts


@dataclass
class PlannedSweep:
    """A sweep as planned, and the logs that were imported beside it."""

    stamp: tuple[int, ...]
    plan: PlanRecord
    entries: list[PlannedRun]
    problems: list[str]
    remote: str = ""
    """The remote that it was pulled from, else empty."""
    owner: str = ""
    """The other user who first submitted it; empty if this user did."""


def read_sweep(store: Store, name: str, before: PlannedSweep | None) -> PlannedSweep:
    """The sweep, or the same object as before where its files haven't changed."""
    folder = store.sweep_folder(name)
    stamp = (*stamp_of(folder / "plan.json"), *stamp_of(folder / "imports"), *stamp_of(folder / FILE))
    if before and before.stamp == stamp:
        return before
    plan, beside = find_sweep(store, name)
    problems: list[str] = []
    entries = [_entry(store, name, vars(entry), problems) for entry in plan["entries"]]
    _name(entries)
    cascades = [_cascade(store, name, one, problems) for one in plan.get("cascades", [])]
    if len({one.settings.get("seed") for one in cascades}) > 1:
        for one in cascades:
            one.parts["seed"] = f"seed {one.settings.get('seed')}"
    entries += cascades
    sampled = (entry.radii for entry in plan["entries"] if entry.kind is RunKind.COUNTS)
    radii = next(sampled, Certification().radii)
    readable = []
    for shown in beside:
        try:
            readable.append((shown, shown.log.spec))
        except UserError as error:
            problems.append(plain(str(error)))
    logs = [shown for shown, _ in readable]
    alike, several = alike_logs(logs), _several(logs)
    entries += [_logged(name, shown, radii, several, alike.get(shown.log.id, "")) for shown in logs]
    _shorten(entries)
    record = pulled(store, name)
    remote = plain(record["remote"], 64) if record else ""
    return PlannedSweep(stamp, plan, entries, problems, remote, plain(owner_of_sweep(store, name), 40))


def stamp_of(path: Path) -> tuple[int, int]:
    """Changes when the file or folder does."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)


def _several(beside: Sequence[ShownImport]) -> list[str]:
    """Those of data set, split, model and certificate in which imported logs differ."""
    specs = [shown.log.spec for shown in beside]
    keys = ("dataset", "split", "model", "certificate")
    return [key for key in keys if len({getattr(spec, key) for spec in specs}) > 1]


def _logged(
    sweep: str, shown: ShownImport, radii: Sequence[float], several: Sequence[str], told: str
) -> PlannedRun:
    """An imported log: it has no tasks."""
    spec = shown.log.spec
    alpha = f"{shown.alpha:g}" if shown.alpha else ""
    keys = ("method", "sigma", "trained_sigma", "seed", "dataset", "split", "model")
    settings = {key.replace("trained_", "training "): getattr(spec, key) for key in keys}
    values = {key: getattr(shown, key) for key in ("alpha", "n", "n0", "source", "remarks")}
    values |= {
        "kind": "imports",
        "images": {"count": 0},
        "certificates": [spec.certificate],
        "radii": list(radii),
    }
    kind = "(logged counts)" if spec.counts else "(log)"
    parts = {"method": spec.method, "sigma": f"σ {spec.sigma:g}", "log": kind}
    if spec.trained_elsewhere is not None:
        parts["trained"] = f"trained at σ {spec.trained_elsewhere:g}"
    if spec.seed is not None:
        parts["seed"] = f"seed {spec.seed}"
    parts |= {key: str(getattr(spec, key)) for key in several}
    if told:
        parts["file"] = told
    return PlannedRun(f"{sweep}/{shown.log.id}/{alpha}", "", shown.log.id, settings, values, {}, "", parts)


def _entry(store: Store, sweep: str, values: dict[str, Any], problems: list[str]) -> PlannedRun:
    model, table = store.run("models", values["model"]), store.run(values["kind"], values["run"])
    parents = [store.run("models", name) for name in values.get("parents", ())]
    planned = [Task(run, 0) for run in (*parents, model)] + [Task(table, n) for n in values["tasks"]]
    tasks: dict[Run, dict[str, Task]] = {}
    for task in planned:
        tasks.setdefault(task.run, {})[task.key] = task
    settings: dict[str, Any] = {}
    problem = ""
    try:
        train = model.train_spec
        heading = {"method": train.method, "sigma": train.sigma, "seed": train.seed}
        settings = {**heading, **settings_of(train, table.table_spec)}
    except UserError as error:
        problem = plain(str(error))
        problems.append(problem)
    certificates = "+".join(values["certificates"])
    key = f"{sweep}/{table.id}/{values['alpha']}/{certificates}/{values['images']['count']}"
    return PlannedRun(key, model.id, table.id, settings, values, tasks, problem)


def _cascade(store: Store, sweep: str, cascade: CascadeEntry, problems: list[str]) -> PlannedRun:
    """A cascade: its tasks are those of its levels."""
    levels = cascade.levels
    values = {
        "kind": CASCADES,
        "levels": levels,
        "taus": cascade.taus,
        "tuned": cascade.tuned,
        "images": levels[0].images,
        "certificates": ["cascade"],
        "radii": sorted({radius for level in levels for radius in level.radii}),
        "alpha": levels[-1].alpha,
    }
    found = PlannedRun(f"{sweep}/{cascade.id}", levels[-1].model, cascade.id, {}, values, {})
    for task in (
        Task(run, number)
        for level in levels
        for run, numbers in (
            *((store.model(name), [0]) for name in level.models),
            (store.run(level.kind, level.run), level.tasks),
        )
        for number in numbers
    ):
        found.tasks.setdefault(task.run, {})[task.key] = task
    try:
        trains = [store.model(level.model).train_spec for level in levels]
        sigmas = [store.run(level.kind, level.run).count_spec.sigma for level in levels]
    except UserError as error:
        found.problem = plain(str(error))
        problems.append(found.problem)
        return found
    of = list(zip((train.method for train in trains), sigmas, cascade.sweeps, strict=True))
    title = cascade_title(of, cascade.taus)
    heading, _, tau = title.rpartition(", ")
    method, _, sigma = heading.partition(" σ = ")
    mixed = "σ = " in sigma
    shown = heading.replace(" = ", " ") if mixed else method
    found.parts = {"method": shown, "by": "cascade", "tau": tau.replace(" = ", " ")}
    found.parts |= {} if mixed else {"sigma": f"σ {sigma}"}
    found.settings = {"method": trains[-1].method, "seed": trains[-1].seed, "dataset": trains[-1].dataset}
    return found


def _name(entries: list[PlannedRun]) -> None:
    """Set titles: method, σ, verifier or attack, and the settings that distinguish runs with the same ones."""
    alike: dict[tuple[Any, Any, str], list[PlannedRun]] = {}
    for entry in entries:
        if entry.settings:
            by = entry.settings.get("verification.verifier") or entry.settings.get("attack.attack") or ""
            alike.setdefault((entry.settings["method"], entry.settings["sigma"], str(by)), []).append(entry)
    for (method, sigma, by), group in alike.items():
        keys = dict.fromkeys(key for entry in group for key in entry.settings)
        differing = [key for key in keys if len({repr(entry.settings.get(key)) for entry in group}) > 1]
        columns = {key: told_apart(key, [entry.settings.get(key) for entry in group]) for key in differing}
        for at, entry in enumerate(group):
            entry.parts = {"method": method, "by": by, "sigma": f"σ {sigma:g}"}
            for key, column in columns.items():
                value = column[at]
                # An attack on the network itself has no noise: its noise settings are all 0.
                if value is not None and (value or not key.startswith("attack.")):
                    entry.parts[key] = f"{key.split('.', 1)[-1]} {setting_text(value)}"


def _shorten(entries: list[PlannedRun]) -> None:
    """Set names within the sweep: titles without the parts that all runs share."""
    named = [entry.parts for entry in entries if entry.parts]
    shared = {key for key in (named[0] if named else ()) if len({parts.get(key) for parts in named}) == 1}
    for entry in entries:
        own = {key: text for key, text in entry.parts.items() if key not in shared}
        entry.name = _joined(own) or entry.title


def _joined(parts: dict[str, str]) -> str:
    """`method · verifier σ 0.5 · seed 0`, from the parts present."""
    by = " · ".join(filter(None, (parts.get("method"), parts.get("by"))))
    heading = " ".join(filter(None, (by, parts.get("sigma"), parts.get("log"))))
    settings = (text for key, text in parts.items() if key not in ("method", "by", "sigma", "log"))
    return plain(" · ".join(filter(None, (heading, *settings))), 120)
