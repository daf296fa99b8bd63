"""Published numbers as data: shown beside your own on request, never mixed with them.

`published.json` is a list of tables. Each says where its numbers come from (`citation`, and `source`: a printed
table, or per-image logs that were recomputed), what they speak of (data set, model, images, n, n0, alpha; null
where the source doesn't say) and holds one row per method and σ: certified accuracy in per cent by radius.
A row's own `images`, `remark` or `settings` override or add to the table's.

Every row has its own `source`, the printed table or the log as `repository: path`, and says whether it was
`recomputed`: true means that a public per-image log gives every number of the row at the precision of its table
(radius >= r and the right class, of all images of the log; the ACR is the mean of the radii printed there, 0 where
the class is wrong), which `tests/unit/test_report_published.py` repeats from the log's counts; false means
transcribed from the printed table, where no public log gives these numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from rsctl.errors import InputError, unknown
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import stated
from rsctl.text import counted, nth

ROUNDED = "Rounded to nearest as printed there, where one's own numbers are rounded down: equal ones may differ in their last digit."
"""Note on rounding below a published table."""


@dataclass(frozen=True)
class PublishedRow:
    """One method at one σ."""

    method: str
    sigma: float
    certified: list[float | None]
    """Per cent, as printed or with one decimal; None where the source has no number."""
    acr: float | None
    images: int | None
    source: str
    """The printed table, or the log as `repository: path`."""
    recomputed: bool
    """True where a public per-image log yields every number of the row; else it was transcribed."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Training settings given by the source, by the keys of a sweep file."""
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """One table."""

    name: str
    values: dict[str, Any]
    """Everything but its rows."""
    rows: list[PublishedRow]

    @property
    def radii(self) -> list[float]:
        return [float(radius) for radius in self.values["radii"]]

    @cached_property
    def decimals(self) -> int:
        """Decimals of the per cents as the table prints them: those of its most exact one, for `73.0` may be stored as 73."""
        return places(value for row in self.rows for value in row.certified if value is not None)

    @cached_property
    def acr_decimals(self) -> int:
        """Decimals of the average certified radii."""
        return places(row.acr for row in self.rows if row.acr is not None)

    @cached_property
    def heading(self) -> str:
        """Heading: title, citation, conditions and the remarks on its rows."""
        v = self.values
        conditions = ", ".join(f"{key} = {stated(v[key])}" for key in ("n", "n0", "alpha", "images"))
        remarks = [f" {row.method}, sigma = {row.sigma:g}: {row.remark}." for row in self.rows if row.remark]
        rows, logs = len(self.rows), sum(row.recomputed for row in self.rows)
        partly = f" {logs} of {counted(rows, 'row')} recomputed from public logs, {rows - logs} transcribed."
        origin = partly if logs < rows else ""
        return f"{v['title']} ({self.name}). {v['citation']}. {v['source']}.{origin} {v['dataset']} {v['split']}, {v['model']}, {v['certificate']}, {conditions}.{''.join(remarks)}"

    def long_rows(self) -> list[dict[str, Any]]:
        """One dict per row and radius, with the keys of a measured row."""
        v = self.values
        return [
            {
                "run": self.name, "source": "published", "method": row.method, "dataset": v["dataset"], "split": v["split"],
                "model": v["model"], "sigma": row.sigma, "noise": "gaussian", "certificate": v["certificate"], "norm": "l2", "k": 1,
                "alpha": v["alpha"], "n": v["n"], "n0": v["n0"], "images": row.images, "radius": radius,
                "certified_accuracy": round(percent / 100, 6), "acr": row.acr, "settings": row.remark,
            }
            for row in self.rows
            for radius, percent in zip(self.radii, row.certified, strict=True)
            if percent is not None
        ]  # fmt: skip


def places(numbers: Iterable[float]) -> int:
    """The decimals of the most exact of these numbers, as their shortest digits have them."""
    found = (Decimal(repr(float(number))).normalize().as_tuple().exponent for number in numbers)
    return max([0, *(-exponent for exponent in found if isinstance(exponent, int))])


@cache
def published_tables() -> dict[str, Published]:
    """Every table, by name."""
    stored = json.loads(files("rsctl.report").joinpath("published.json").read_text(encoding="utf-8"))
    tables = {}
    for table in stored:
        values = {key: value for key, value in table.items() if key != "rows"}
        rows = [PublishedRow(**{"images": table["images"], **row}) for row in table["rows"]]
        tables[table["name"]] = Published(table["name"], values, rows)
    return tables


def find_published(name: str, asked: str = "TABLE") -> Published:
    """The table of this name; raises InputError with the existing names."""
    tables = published_tables()
    if name not in tables:
        raise InputError(f"{asked}: {unknown('published table', name, tables)}")
    return tables[name]


def matching(rows: Sequence[Measurement]) -> list[Published]:
    """The tables on a data set and a split that these rows are on."""
    wanted = {(row.dataset, row.split) for row in rows}
    return [table for table in published_tables().values() if (table.values["dataset"], table.values["split"]) in wanted]  # fmt: skip


def beside(rows: Sequence[Measurement], baselines: Sequence[Published]) -> list[str]:
    """Warnings for each baseline whose conditions differ from those of your rows on its data set."""
    notes = []
    for table in baselines:
        own = [row for row in rows if row.dataset == table.values["dataset"]]
        found = differences(own, table)
        if found:
            notes.append(
                f"{table.name} was measured under other conditions than these runs: {'; '.join(found)}."
            )
    return notes


def differences(rows: Sequence[Measurement], table: Published, images: int | None = None) -> list[str]:
    """Differences between your rows and a published table in split, model, n, n0, alpha, arithmetic and image subset.

    `images` is that of one published row, where it isn't the table's.
    """
    found = []
    for key in ("split", "model", "certificate", "n", "n0", "alpha", "arithmetic"):
        theirs = {"arithmetic": "float", **table.values}[key]
        ours = list(dict.fromkeys(getattr(row, key) for row in rows))
        if rows and ours != [theirs]:
            found.append(f"{key} {stated(theirs)} published, {', '.join(stated(one) for one in ours)} here")
    theirs = images or table.values["images"]
    ours = list(dict.fromkeys(row.images for row in rows))
    if rows and ours != [theirs]:
        skip = table.values["skip"]
        which = f" (every {nth(skip)})" if skip and skip > 1 else ""
        found.append(f"images {stated(theirs)}{which} published, {', '.join(map(str, ours))} here")
    return found
