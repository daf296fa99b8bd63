"""Templates that this machine can run: their data is present, and a CPU finishes them within a day."""

from __future__ import annotations

from dataclasses import dataclass

import tomli

from rsctl.catalog import known_datasets
from rsctl.catalog.presence import lies_below
from rsctl.config.settings import Place
from rsctl.config.sweep import build_sweep
from rsctl.config.templates import Template, grouped
from rsctl.errors import UserError
from rsctl.plan.cost import Key, Throughput, estimate, measure
from rsctl.plan.plan import make_plan
from rsctl.store.layout import Store
from rsctl.text import duration

MOST_HOURS = 24.0
"""Hours of work, on one device, up to which a sweep is listed."""


@dataclass(frozen=True)
class RunsHere:
    """A template and the reason why it doesn't run here, empty if it does."""

    template: Template
    obstacle: str = ""
    time: str = ""
    """Estimated time by measurements in this store; empty if unknown."""


def fits(place: Place) -> list[RunsHere]:
    """Every template, in the order of the listing."""
    store = Store(place.store)
    measured = measure(store)
    return [_fit(one, place, store, measured) for group in grouped().values() for one in group]


def _fit(template: Template, place: Place, store: Store, measured: dict[Key, Throughput]) -> RunsHere:
    raw = tomli.loads(template.text)
    missing = _missing(raw["dataset"], place)
    if missing:
        return RunsHere(template, "; ".join(filter(None, (missing, template.gpus))))
    try:
        plan = make_plan(build_sweep(raw, template.name, place.data, store.planned), template.name, store)
    except UserError as error:
        return RunsHere(template, str(error).splitlines()[0])
    cost = estimate(plan, store, measured)
    if cost.unknown or (cost.scaled and not template.gpus):  # scaled by FLOPs, tiny networks seem slow
        return RunsHere(
            template, template.gpus and f"{template.gpus}; its speed on this machine isn't measured"
        )
    time = f"{duration(3600 * cost.hours)} on {' and '.join(cost.devices)}" if cost.devices else ""
    return (
        RunsHere(template, f"would take {time}") if cost.hours > MOST_HOURS else RunsHere(template, time=time)
    )


def _missing(dataset: str | dict[str, str], place: Place) -> str:
    """The data set that this machine lacks, and where to get it; empty if it is present."""
    table = {"name": dataset} if isinstance(dataset, str) else dataset
    name, path = table["name"], table.get("path")
    if lies_below(place.data, name, table):
        return ""
    if path:
        return f"no folder {path} with train and test below the data root"
    where = known_datasets()[name].where
    get = f"rsctl data fetch {name}" if "rsctl data fetch" in where else "rsctl data list"
    return f"data set {name} is missing ('{get}')"
