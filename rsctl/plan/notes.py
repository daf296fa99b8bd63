"""What somebody should know before a plan is submitted, though nothing is wrong with the sweep file."""

from __future__ import annotations

import os

from rsctl.catalog import find, known_datasets, plugin_problems
from rsctl.catalog.folders import turned_in
from rsctl.catalog.presence import absent
from rsctl.certificates.possible import Asked, Draws, too_few, too_few_to_confirm
from rsctl.config.runs import AttackSpec, CountSpec
from rsctl.config.settings import LocalProfile, Place
from rsctl.config.sweep import overridden
from rsctl.plan.changed import called, other_files
from rsctl.plan.plan import Plan, left_out
from rsctl.plan.tasks import STAGES
from rsctl.plan.unreadable import unreadable
from rsctl.store.layout import Store
from rsctl.store.records import UnreadableRecord, passed_over
from rsctl.text import counted

SAID_AT_THE_TOP = {
    "seed": "the seed of the training (by default 0)",
    "sigma": "the noise of the training",
    "noise": "the law of all noise (by default gaussian)",
    "exponent": "that of all noise (by default 0)",
}
"""Keys of a sweep that some table of it has, too, and what they are there."""


def notes_of(plan: Plan, place: Place) -> list[str]:
    """Sentences, the gravest first."""
    return [*_changed(plan, place), *cautions(plan, place), *_overridden(plan), *_resized(plan)]


def cautions(plan: Plan, place: Place) -> list[str]:
    """Those of them that a submission repeats: its tasks may fail, take much longer than they have to, be in vain, or see other images."""
    return [
        *_beneath(plan),
        *_absent(plan, place),
        *(one.told() for one in unreadable(plan, place)),
        *dict.fromkeys(filter(None, map(left_out, plan.sweep.points))),
        *_threads(plan, place),
        *_too_few(plan),
        *_deep(plan),
        *_turned(plan, place),
        *plugin_problems(),
        *passed_over(),
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
    """No error: tasks may see other disks than the machine that plans them."""
    names = sorted({model.spec.dataset for model in plan.models.values()})
    missing = [absent(find("data set", name, known_datasets()), place.data) for name in names]
    return [f"{text} Tasks that see the same disks will fail." for text in missing if text]


def _beneath(plan: Plan) -> list[str]:
    """TOML has no way back to the top: a key that is added at the end of a file lands in its last table."""
    raw = plan.sweep.raw
    tables = [("certification", raw.get("certification")), ("method", raw.get("method"))]
    above = {*raw, *(raw["grid"] if isinstance(raw.get("grid"), dict) else ())}
    return [
        f"{name}.{key} = {table[key]!r} stands under [{name}], and {key} isn't given at the top of the file, where it is "
        f"{SAID_AT_THE_TOP[key]}. Which one is meant? For that one move the line above the first table; for this one write {key} at the top, too."
        for name, table in tables
        if isinstance(table, dict)
        for key in SAID_AT_THE_TOP
        if key in table and key not in above
    ]


def _threads(plan: Plan, place: Place) -> list[str]:
    """More threads than cores wait for one another at every layer. A cluster's nodes aren't known here."""
    profile = place.settings.profile(plan.sweep.cluster)
    if not isinstance(profile, LocalProfile):
        return []
    cores = len(os.sched_getaffinity(0))
    asked = [("training", model.resources.threads) for model in plan.models.values()]
    asked += [(STAGES[table.spec.folder], table.resources.threads) for table in plan.tables.values()]
    return [
        f"resources.{stage}.threads: {threads} are more than the {counted(cores, 'core')} here: its tasks may be many times "
        f"slower than with {cores}."
        for stage, threads in sorted(set(asked))
        if threads > cores
    ]


def _too_few(plan: Plan) -> list[str]:
    asked = []
    for entry in plan.entries:
        spec, shape, settings = entry.table.spec, entry.resolved.shape, entry.resolved.point.certification
        if isinstance(spec, CountSpec) and spec.estimated:
            draws = Draws.of(spec, shape.classes, shape.dimension)
            asked += [
                Asked(name, draws, spec.n, settings.alpha, tuple(entry.table.radii))
                for name in settings.certificates
            ]
    attacks = [spec for entry in plan.entries if isinstance(spec := entry.table.spec, AttackSpec)]
    return [
        *(f"certification.n: {text}" for text in too_few(asked)),
        *(f"attack.n: {text}" for text in too_few_to_confirm(attacks)),
    ]


def _deep(plan: Plan) -> list[str]:
    """Older versions read such files as white."""
    found = {}
    for resolved in plan.sweep.points:
        if deep := resolved.shape.deep:
            name, white = called(plan.models[resolved.train.run_id]), resolved.dataset_parameters.get("white")
            found[name] = (
                f"{counted(deep, 'file')} of {name} with grey values of more than 8 bits: 256 levels are made of these, white is "
                f"{f'{white:g}' if white else 'the largest that their format has'} (dataset.white)."
            )
    return list(found.values())


def _turned(plan: Plan, place: Place) -> list[str]:
    """Viewers show such files otherwise than networks see them."""
    folders = {
        (called(plan.models[one.train.run_id]), one.dataset_parameters["path"], one.shape.class_names)
        for one in plan.sweep.points
        if one.train.dataset == "imagefolder" and one.dataset_parameters["orientation"] == "stored"
    }
    looked = {name: turned_in(place.data, path, classes) for name, path, classes in sorted(folders)}
    return [
        f"{turned.files} of {counted(turned.looked_at, 'file')} of {name} that were looked at ({turned.first}, …) have an EXIF entry that "
        "turns them when they are shown. Pixels are taken as they are stored, as torchvision does; dataset.orientation = 'exif' turns them."
        for name, turned in looked.items()
        if turned.files
    ]


def _overridden(plan: Plan) -> list[str]:
    return [
        f"{key} has a value of its own beside a list in the grid: the list counts, the value is used nowhere."
        for key in overridden(plan.sweep.raw, plan.sweep.name)
    ]


def _resized(plan: Plan) -> list[str]:
    """A side in pixels that nobody gave is a choice all the same: it is what radii and accuracies are of."""
    found = {}
    for resolved in plan.sweep.points:
        said = resolved.point.dataset
        if "size" not in said and "size" in resolved.dataset_parameters:
            channels, size = resolved.shape.channels, resolved.shape.size
            name = called(plan.models[resolved.train.run_id])
            found[name] = (
                f"dataset.size isn't given: the images of {name} are brought to {size}x{size} pixels, and radii are "
                f"distances between images of {channels}x{size}x{size} values in [0, 1]."
            )
    return list(found.values())
