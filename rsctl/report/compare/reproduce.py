"""A published table beside your sweep: differences cell by cell, and the settings that may explain them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rsctl.config.run_settings import settings_of
from rsctl.errors import InputError
from rsctl.report.baselines import Published, PublishedRow, differences
from rsctl.report.typeset import escape_markdown
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import percent, percent_up, plain
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store
from rsctl.text import counted


@dataclass(frozen=True)
class ReproducedCell:
    """One cell of the published table and that of your run; shares in per cent."""

    radius: float
    published: float
    measured: float
    low: float
    high: float
    """95 % Clopper–Pearson interval of the measured share, over images."""
    decimals: int = 1
    """Decimals of the published table, which rounds to nearest."""

    @property
    def difference(self) -> float:
        """Measured − published, to the published digits: 0 where the measured share would be printed as the same."""
        return apart(self.measured, self.published, self.decimals)

    @property
    def rounded(self) -> float:
        """The measured share as the published table would print it."""
        return round(self.published + self.difference, self.decimals)

    @property
    def inside(self) -> bool:
        """True where the published number, to its digits, lies in the interval."""
        half = 0.5 * 10.0**-self.decimals
        return self.low - half <= self.published <= self.high + half


def apart(measured: float, published: float, decimals: int) -> float:
    """Measured, rounded to nearest, − published; a measured number halfway between two is rounded towards the published one."""
    steps = abs(measured - published) * 10.0**decimals
    whole = max(math.ceil(steps - 0.5 - 1e-6), 0)
    return math.copysign(whole * 10.0**-decimals, measured - published) if whole else 0.0


@dataclass(frozen=True)
class ReproducedRow:
    """One published row and one of your runs."""

    method: str
    sigma: float
    run: str
    images: int
    cells: list[ReproducedCell]
    acr_published: float | None
    acr_measured: float | None
    acr_decimals: int
    settings: list[str]
    """Every setting that differs, as `key: published, here`."""


@dataclass(frozen=True)
class Reproduction:
    """A whole table."""

    table: str
    heading: str
    sweep: str
    rows: list[ReproducedRow]
    missing: list[str]
    """Published rows without a run in the sweep."""
    notes: list[str] = field(default_factory=list)


def reproduce(store: Store, table: Published, sweep: str, certificate: str | None = None) -> Reproduction:
    """Pair every published row with the runs of its method and σ (every seed on its own).

    Raises InputError where the sweep has nothing on that data set.
    """
    wanted = certificate or table.values["certificate"]
    results = sweep_results(store, sweep, certificate=wanted, radii=table.radii)
    rows = [row for row in results.every if row.dataset == table.values["dataset"]]
    if not rows:
        found = ", ".join(sorted({row.dataset for row in results.every})) or "no runs"
        raise InputError(f"{sweep}: {table.name} is on {table.values['dataset']}; the sweep has {found}.")
    paired, missing = [], []
    for published in table.rows:
        mine = [
            row for row in rows if row.sigma == published.sigma and same_method(published.method, row.method)
        ]
        # Of several, prefer those trained at this noise level and with the published hyper-parameters.
        mine = [row for row in mine if row.trained_sigma in (None, row.sigma)] or mine
        mine = [row for row in mine if _same_hyperparameters(published, row)] or mine
        if not mine:
            missing.append(f"{published.method}, sigma = {published.sigma:g}")
        paired += [_pair(table, published, row) for row in mine]
    notes = [
        *results.notes,
        "Measured numbers are rounded to nearest here, to the digits of the published table; elsewhere they are rounded down.",
        "The interval is over your images; the published share varies likewise, and trainings differ by "
        "seed: a number outside it doesn't prove a mistake.",
    ]
    return Reproduction(table.name, table.heading, sweep, paired, missing, notes)


def _same_hyperparameters(published: PublishedRow, row: Measurement) -> bool:
    wanted = {key: value for key, value in published.settings.items() if key.startswith("method.")}
    mine = _settings_of_counts(row)
    return all(mine.get(key) == value for key, value in wanted.items())


def _settings_of_counts(row: Measurement) -> dict[str, Any]:
    """Settings of a certification run; empty for others, whose training isn't compared."""
    return settings_of(row.training, row.table_spec) if row.kind == "counts" else {}


def same_method(published: str, mine: str) -> bool:
    """Return whether names agree except for case, punctuation and brackets; `Basic` and `Cohen` are Gaussian augmentation."""
    return _bare(published) == _bare(mine)


def _bare(name: str) -> str:
    bare = re.sub(r"[^a-z0-9]", "", name.split("(")[0].lower())
    return {"basic": "gaussian", "cohen": "gaussian"}.get(bare, bare)


def _pair(table: Published, published: PublishedRow, row: Measurement) -> ReproducedRow:
    cells = [
        ReproducedCell(
            cell.radius,
            value,
            100 * cell.accuracy,
            100 * cell.interval[0],
            100 * cell.interval[1],
            table.decimals,
        )
        for cell, value in zip(row.cells, published.certified, strict=True)
        if value is not None and cell.images
    ]
    return ReproducedRow(
        published.method, published.sigma, row.run, row.images, cells, published.acr,
        row.acr if row.images else None, table.acr_decimals, _settings(table, published, row),
    )  # fmt: skip


def _settings(table: Published, published: PublishedRow, row: Measurement) -> list[str]:
    found = differences([row], table, images=published.images)
    if published.remark:
        found.append(f"published: {published.remark}")
    if row.trained_sigma not in (None, row.sigma):
        found.append(f"trained at σ = {row.trained_sigma:g} here")
    if mine := _settings_of_counts(row):
        for key, theirs in published.settings.items():
            if mine.get(key) != theirs:
                found.append(f"{key} {plain(theirs)} published, {plain(mine.get(key))} here")
        unknown = [
            key for key in mine if key.startswith(("training.", "method.")) and key not in published.settings
        ]
        if unknown:
            found.append(f"not compared (missing from the published data): {', '.join(unknown)}")
    else:
        found.append("training settings: a log doesn't hold them")
    return found


def reproduction_text(found: Reproduction) -> str:
    """Markdown: one table per published row."""
    lines = [f"# {escape_markdown(found.sweep)} beside {found.table}", "", escape_markdown(found.heading), ""]
    for row in found.rows:
        outside = [cell for cell in row.cells if not cell.inside]
        lines += [
            f"## {escape_markdown(row.method)}, σ = {row.sigma:g}: {escape_markdown(row.run)} ({counted(row.images, 'image')})", "",
            *_cells(row), "",
            f"{len(row.cells) - len(outside)} of {len(row.cells)} published numbers lie in the 95 % interval of this run.",
        ]  # fmt: skip
        if row.acr_published is not None and row.acr_measured is not None:
            places = row.acr_decimals
            difference = apart(row.acr_measured, row.acr_published, places)
            lines.append(
                f"ACR {row.acr_published:.{places}f} published, {row.acr_published + difference:.{places}f} here: {difference:+.{places}f}."
            )
        lines += [*(f"- {escape_markdown(setting)}" for setting in row.settings), ""]
    if found.missing:
        lines += [
            f"No run of the sweep for: {escape_markdown('; '.join(found.missing))}. Runs are matched by method name and σ; "
            "set a log's method with 'rsctl import --method'.",
            "",
        ]
    return "\n".join([*lines, *(f"Note: {escape_markdown(note)}  " for note in found.notes)]).rstrip()


def _cells(row: ReproducedRow) -> Sequence[str]:
    lines = [
        "| radius | published | measured | difference | 95 % interval  |         |",
        "|--------|-----------|----------|------------|----------------|---------|",
    ]
    for cell in row.cells:
        places = cell.decimals
        interval = f"[{percent(cell.low / 100)}, {percent_up(cell.high / 100)}]"
        lines.append(
            f"| {cell.radius:<6g} | {cell.published:9.{places}f} | {cell.rounded:8.{places}f} | {cell.difference:+10.{places}f} | {interval:14} | {'' if cell.inside else 'outside':7} |"
        )
    return lines


def reproduction_json(found: Reproduction) -> str:
    values: dict[str, Any] = asdict(found)
    for row, full in zip(values["rows"], found.rows, strict=True):
        for cell, one in zip(row["cells"], full.cells, strict=True):
            cell |= {"difference": one.difference, "rounded": one.rounded, "inside": one.inside}
    return json.dumps(values, indent=1, allow_nan=False)
