"""What somebody should know before a plan is submitted, though nothing is wrong with the sweep file."""

from __future__ import annotations

import os

from rsctl.catalog import find, known_datasets
from rsctl.catalog.folders import turned_in
from rsctl.catalog.presence import absent
from rsctl.certificates.possible import Asked, Draws, too_few, too_few_to_confirm
from rsctl.plan.changed import called, other_files
from rsctl.plan.plan import Plan
from rsctl.plan.tasks import STAGES
from rsctl.spec.runs import AttackSpec, CountSpec
from rsctl.spec.settings import LocalProfile, Place
from rsctl.spec.sweep import overridden
from rsctl.store.layout import Store
from rsctl.words import counted


def notes_of(plan: Plan, place: Place) -> list[str]:
    """Sentences, the gravest first."""
    return [*_changed(plan, place), *cautions(plan, place), *_overridden(plan), *_resized(plan)]


def cautions(plan: Plan, place: Place) -> list[str]:
    """Those of them that a submission repeats: its tasks may fail, take much longer than they have to, be in vain, or see other images."""
    return [*_absent(plan, place), *_threads(plan, place), *_too_few(plan), *_read_otherwise(plan, place)]


def _changed(plan: Plan, place: Place) -> list[str]:
    files = other_files(Store(place.store), plan)
    return (
        [f"{files} Submitted with --update, the sweep gets new runs and drops the old ones."] if files else []
    )


def _absent(plan: Plan, place: Place) -> list[str]:
    """No error: tasks may see other disks than the machine that plans them."""
    names = sorted({model.spec.dataset for model in plan.models.values()})
    missing = [absent(find("data set", name, known_datasets()), place.data) for name in names]
    return [f"{text} Tasks that see the same disks will fail." for text in missing if text]


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


def _read_otherwise(plan: Plan, place: Place) -> list[str]:
    """Image files that aren't read as viewers show them, or as older versions read them."""
    found: dict[str, str] = {}
    for resolved in plan.sweep.points:
        parameters, model = resolved.dataset_parameters, plan.models[resolved.train.run_id]
        name = called(model)
        if resolved.shape.deep and name not in found:
            white = f"{parameters['white']:g}" if parameters["white"] else "the largest that their format has"
            found[name] = (
                f"{counted(resolved.shape.deep, 'file')} of {name} hold grey values of more than 8 bits, of which 256 levels are made; "
                f"white is {white} (dataset.white)."
            )
        turned = f"{name} is turned"
        if (
            resolved.train.dataset == "imagefolder"
            and parameters["orientation"] == "stored"
            and turned not in found
        ):
            rotated = turned_in(place.data, parameters["path"], resolved.shape.class_names)
            found[turned] = (
                f"{rotated.files} of {counted(rotated.looked_at, 'file')} of {name} that were looked at ({rotated.first}, …) have an EXIF "
                "entry that turns them when they are shown. Pixels are taken as they are stored, as torchvision does; dataset.orientation = "
                "'exif' turns them."
                if rotated.files
                else ""
            )
    return [text for text in found.values() if text]


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
