"""Warnings before a plan is submitted, for valid sweep files."""

from __future__ import annotations

import os

from rsctl.catalog import find, known_datasets, plugin_problems
from rsctl.catalog.folders import turned_in
from rsctl.catalog.presence import absent
from rsctl.certificates.possible import Asked, Draws, too_few, too_few_to_confirm
from rsctl.config.runs import AttackSpec, CountSpec
from rsctl.config.settings import LocalProfile, Place
from rsctl.config.sweep import overridden
from rsctl.plan.changed import dataset_name, other_files
from rsctl.plan.plan import Plan, left_out
from rsctl.plan.unreadable import unreadable
from rsctl.store.layout import Store
from rsctl.store.records import UnreadableRecord, skipped_records
from rsctl.text import counted

TOP_LEVEL = {
    "seed": "the seed of the training (by default 0)",
    "sigma": "the noise level of the training",
    "noise": "the distribution of all noise (by default gaussian)",
    "exponent": "the exponent of all noise (by default 0)",
}
"""Top-level keys that also exist in a table, and their meaning at the top level."""


def notes_of(plan: Plan, place: Place) -> list[str]:
    """Return all warnings, the most serious first."""
    return [*_changed(plan, place), *warnings_of(plan, place), *_overridden(plan), *_resized(plan)]


def warnings_of(plan: Plan, place: Place) -> list[str]:
    """Return the warnings that a submission repeats: its tasks may fail, be slow, be pointless or use different images."""
    return [
        *_beneath(plan),
        *_absent(plan, place),
        *(one.message() for one in unreadable(plan, place)),
        *dict.fromkeys(filter(None, map(left_out, plan.sweep.points))),
        *_threads(plan, place),
        *_too_few(plan),
        *_deep(plan),
        *plan.incomplete,
        *_turned(plan, place),
        *plugin_problems(),
        *skipped_records(),
    ]


def _changed(plan: Plan, place: Place) -> list[str]:
    try:
        files = other_files(Store(place.store), plan)
    except UnreadableRecord as error:
        return [str(error)]
    return (
        [f"{files} Submitted with --update, the sweep gets new runs and drops the old ones."] if files else []
    )


def _absent(plan: Plan, place: Place) -> list[str]:
    """Warn of missing data sets. Not an error, because tasks may run on machines with other disks."""
    names = sorted({model.spec.dataset for model in plan.models.values()})
    missing = [absent(find("data set", name, known_datasets()), place.data) for name in names]
    return [f"{text} Tasks on machines with the same disks will fail." for text in missing if text]


def _beneath(plan: Plan) -> list[str]:
    """Warn of top-level keys in a table: a key added at the end of a TOML file belongs to its last table."""
    raw = plan.sweep.raw
    tables = [("certification", raw.get("certification")), ("method", raw.get("method"))]
    above = {*raw, *(raw["grid"] if isinstance(raw.get("grid"), dict) else ())}
    return [
        f"{name}.{key} = {table[key]!r} is under [{name}], and {key} isn't set at the top of the file, where it means "
        f"{TOP_LEVEL[key]}. If that is meant, move the line above the first table; otherwise set {key} at the top, too."
        for name, table in tables
        if isinstance(table, dict)
        for key in TOP_LEVEL
        if key in table and key not in above
    ]


def _threads(plan: Plan, place: Place) -> list[str]:
    """Warn of more threads than cores, which wait for one another at every layer. Nodes of a cluster aren't checked."""
    profile = place.settings.profile(plan.sweep.cluster)
    if not isinstance(profile, LocalProfile):
        return []
    cores = len(os.sched_getaffinity(0))
    requested = [("training", model.resources.threads) for model in plan.models.values()]
    requested += [(table.kind.stage, table.resources.threads) for table in plan.tables.values()]
    return [
        f"resources.{stage}.threads: {threads} threads on {counted(cores, 'core')}: its tasks may be many times "
        f"slower than with {cores}."
        for stage, threads in sorted(set(requested))
        if threads > cores
    ]


def _too_few(plan: Plan) -> list[str]:
    requested = []
    for entry in plan.entries:
        spec, shape, settings = entry.table.spec, entry.resolved.shape, entry.resolved.point.certification
        if isinstance(spec, CountSpec) and spec.estimated:
            draws = Draws.of(spec, shape.classes, shape.dimension)
            requested += [
                Asked(name, draws, spec.n, settings.alpha, tuple(entry.table.radii))
                for name in settings.certificates
            ]
    attacks = [spec for entry in plan.entries if isinstance(spec := entry.table.spec, AttackSpec)]
    return [
        *(f"certification.n: {text}" for text in too_few(requested)),
        *(f"attack.n: {text}" for text in too_few_to_confirm(attacks)),
    ]


def _deep(plan: Plan) -> list[str]:
    """Warn of files with more than 8 bits, which older versions read as white."""
    found = {}
    for resolved in plan.sweep.points:
        if deep := resolved.shape.deep:
            name, white = (
                dataset_name(plan.models[resolved.train.run_id]),
                resolved.dataset_parameters.get("white"),
            )
            found[name] = (
                f"{counted(deep, 'file')} of {name} with more than 8 bits per grey value: they are reduced to 256 levels, with white at "
                f"{f'{white:g}' if white else 'the maximum of their format'} (dataset.white)."
            )
    return list(found.values())


def _turned(plan: Plan, place: Place) -> list[str]:
    """Warn of files with an EXIF orientation, which viewers rotate."""
    folders = {
        (dataset_name(plan.models[one.train.run_id]), one.dataset_parameters["path"], one.shape.class_names)
        for one in plan.sweep.points
        if one.train.dataset == "imagefolder" and one.dataset_parameters["orientation"] == "stored"
    }
    turns = {name: turned_in(place.data, path, classes) for name, path, classes in sorted(folders)}
    return [
        f"{turned.files} of {counted(turned.looked_at, 'file')} checked in {name} ({turned.first}, …) have an EXIF orientation that "
        "viewers apply. Pixels are read as stored, as torchvision does; dataset.orientation = 'exif' applies it."
        for name, turned in turns.items()
        if turned.files
    ]


def _overridden(plan: Plan) -> list[str]:
    return [
        f"{key} is set both to a value and to a list in the grid: the list applies, the value is ignored."
        for key in overridden(plan.sweep.raw, plan.sweep.name)
    ]


def _resized(plan: Plan) -> list[str]:
    """Warn of a default image size: radii and accuracies refer to it."""
    found = {}
    for resolved in plan.sweep.points:
        given = resolved.point.dataset
        if "size" not in given and "size" in resolved.dataset_parameters:
            channels, size = resolved.shape.channels, resolved.shape.size
            name = dataset_name(plan.models[resolved.train.run_id])
            found[name] = (
                f"dataset.size isn't set: the images of {name} are resized to {size}x{size} pixels, and radii are "
                f"distances between images of {channels}x{size}x{size} values in [0, 1]."
            )
    return list(found.values())
