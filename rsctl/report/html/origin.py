"""Provenance of the numbers, and the commands that make them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from rsctl import __version__
from rsctl.errors import UserError
from rsctl.report.html.elements import element
from rsctl.report.html.private import Private
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import plain
from rsctl.results.sweep import Results
from rsctl.store.files import read_bytes
from rsctl.store.imports import ShownImport
from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanRecord

MOST_SETTINGS = 60
"""Runs whose settings are listed in full."""


def origin(store: Store, results: Results, plan: PlanRecord, options: Sequence[str], clean: Private) -> list[Element]:  # fmt: skip
    """The commands that make the numbers again, their provenance, and the settings of every run."""
    name = results.sweep
    file = _sweep_file(store, name, clean)
    found = [element("h3", "Commands"), _commands(name, results, bool(file), options, clean)]
    if file:
        found.append(
            element("details", element("summary", f"{name}.toml, the sweep file"), element("pre", file))
        )
    found += [element("h3", "Provenance"), _facts(_provenance(store, results, plan, clean))]
    if weights := _weights(results):
        found.append(element("details", element("summary", "SHA-256 of the weights"), _facts(weights)))
    found.append(
        element(
            "details",
            element("summary", "Settings of every run"),
            *(_settings(row, clean) for row in _runs(results)[:MOST_SETTINGS]),
        )
    )
    left = len(_runs(results)) - MOST_SETTINGS
    return [*found, *([element("p", f"{left} further runs are left out.")] if left > 0 else [])]


def _sweep_file(store: Store, name: str, clean: Private) -> str:
    try:
        text = read_bytes(store.sweep_folder(name) / "sweep.toml").decode("utf-8", "replace")
    except OSError:
        return ""
    return clean(text)


def _commands(name: str, results: Results, own: bool, options: Sequence[str], clean: Private) -> Element:
    quoted = shlex.quote(name)
    lines = [f"rsctl submit {shlex.quote(f'{name}.toml')} --wait"] if own else []
    for row in results.logged:
        assert row.logged
        lines.append(_import(name, row.logged, clean))
    chosen = " ".join(["", *map(shlex.quote, options)])
    lines += [
        f"rsctl export {quoted}{chosen} --format csv",
        f"rsctl plot {quoted} -o figure.pdf",
        f"rsctl report {quoted}{chosen} -o report.html",
    ]
    return element("pre", clean("\n".join(dict.fromkeys(lines))), class_="commands")


def _import(name: str, shown: ShownImport, clean: Private) -> str:
    spec = shown.log.spec
    stated = {"method": spec.method, "dataset": spec.dataset, "model": spec.model, "sigma": spec.sigma, "seed": spec.seed,
              "split": spec.split, "certificate": spec.certificate, "n": shown.n, "n0": shown.n0, "alpha": shown.alpha}  # fmt: skip
    told = [f"--{key} {shlex.quote(plain(value))}" for key, value in stated.items() if value is not None]
    source = shlex.quote(Path(clean(shown.source)).name or "LOG")
    return f"rsctl import {source} --name {shlex.quote(name)} {' '.join(told)}"


def _provenance(store: Store, results: Results, plan: PlanRecord, clean: Private) -> list[tuple[str, str]]:
    facts = [("Report written by", f"rsctl {__version__}")]
    if when := plan.get("submitted"):
        facts.append(("Submitted", datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    codes: dict[str, None] = {}
    versions: dict[str, None] = {}
    for row in _runs(results):
        for one in row.levels or [row]:
            if not one.own:
                continue
            try:
                launch = store.run(one.kind, one.run).launch()
            except UserError:
                continue
            made = launch.get("provenance", {})
            git = made.get("git", {})
            state = f", commit {git['sha'][:12]}" if "sha" in git else ""
            state += " with uncommitted changes" if git.get("dirty") else ""
            codes[f"{launch.get('code', '')}{state}"] = None
            packages = {key: value for key, value in made.get("versions", {}).items() if key != "platform"}
            versions[", ".join(f"{key} {value}" for key, value in packages.items())] = None
    facts += [("Code", code) for code in codes if code]
    facts += [("Versions", text) for text in versions if text]
    return [(key, clean(value)) for key, value in facts]


def _weights(results: Results) -> list[tuple[str, str]]:
    """The digest of each network's weights, by its run."""
    levels = [one for row in _runs(results) for one in row.levels or [row]]
    return list(
        {one.table_spec.model_run: one.checkpoint for one in levels if one.own and one.checkpoint}.items()
    )


def _facts(facts: Sequence[tuple[str, str]]) -> Element:
    parts = [part for key, value in facts for part in (element("dt", key), element("dd", value))]
    return element("dl", *parts, class_="facts")


def _runs(results: Results) -> list[Measurement]:
    """Each run once, whatever the number of its certificates."""
    return list({row.run: row for row in results.measurements}.values())


def _settings(row: Measurement, clean: Private) -> Element:
    values: dict[str, Any] = {"run": row.run, "certificate": row.certificate, "guarantee": row.guarantee}
    if row.levels:
        values["levels"] = [one.run for one in row.levels]
    elif row.own:
        values |= {"training": row.training.model_dump(mode="json"), row.kind: row.table_spec.model_dump(mode="json")}  # fmt: skip
    else:
        values["log"] = row.spec.model_dump(mode="json")
    text = clean(json.dumps(values, indent=1, ensure_ascii=False, sort_keys=False))
    return element("details", element("summary", f"{row.run}, {row.certificate}"), element("pre", text))
