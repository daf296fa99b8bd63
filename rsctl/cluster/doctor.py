"""`rsctl doctor`: finds problems of this machine before a task meets them."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass

from rsctl.catalog import known_datasets, known_methods, known_models, plugin_problems
from rsctl.catalog.presence import presence
from rsctl.certificates import certificates
from rsctl.cluster.local.processes import stopped_queues, visible_gpus
from rsctl.cluster.local.requests import own_queue
from rsctl.cluster.slurm.doctor import examine_slurm
from rsctl.config.settings import Place
from rsctl.errors import UserError
from rsctl.store.exclusion import has_locks, is_held
from rsctl.store.files import replace
from rsctl.store.layout import Store
from rsctl.store.sharing import closed_to_group, kept_from_group
from rsctl.store.trust import open_to_all

_PACKAGES = ("torch", "torchvision", "accelerate", "scikit-learn", "h5py", "submitit", "textual")
_LOW_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    ok: bool
    what: str
    text: str


def examine(place: Place) -> list[Finding]:
    """Check settings, packages, store, data, the local queue and SLURM; only probe files are written."""
    found = [Finding(True, "settings", str(place.file) if place.file else "none; using the defaults")]
    found += [_package(name) for name in _PACKAGES]
    found += _store(place)
    found += _catalog(place)
    gpus = visible_gpus(place.settings.local())
    found.append(Finding(True, "gpus", ", ".join(map(str, gpus)) or "none; tasks run on the CPU"))
    return found + [Finding(*one) for one in examine_slurm(place)]


def _package(name: str) -> Finding:
    try:
        return Finding(True, name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(False, name, "not installed; run the README's install command again")


def _catalog(place: Place) -> list[Finding]:
    try:
        counts = f"{len(known_methods())} methods, {len(known_models())} models, {len(known_datasets())} data sets, {len(certificates())} certificates"
        here = [name for name, text in presence(place.data) if text.startswith("here")]
    except UserError as error:
        return [Finding(False, "catalog", str(error))]
    usable = place.data.is_dir() or not place.data.exists()
    contents = (
        ", ".join(here)
        if usable
        else "is not a folder; set another one in RSCTL_DATA, or as 'data' in rsctl.toml"
    )
    found = [Finding(usable, "data", f"{place.data}: {contents}"), Finding(True, "catalog", counts)]
    return found + [Finding(False, "catalog", problem) for problem in plugin_problems()]


def _store(place: Place) -> list[Finding]:
    probe = place.store / "doctor-probe"
    try:
        replace(probe, b"probe")
        probe.unlink()
    except (UserError, OSError) as error:
        return [Finding(False, "store", str(error))]
    free = shutil.disk_usage(place.store).free / 1e9
    found = [Finding(free > _LOW_DISK_GB, "store", f"{place.store}, writable, {free:.0f} GB free")]
    queue = own_queue(Store(place.store))
    waiting, running = len(queue.wanted()), is_held(queue.lock)
    state = "runs" if running else "is not running"
    if waiting and not running:
        state += f", though {waiting} tasks are waiting: submit again"
    if stopped := stopped_queues(queue.store):
        state += f", but process {stopped[0]} was stopped: 'kill -CONT {stopped[0]}' resumes it"
    found.append(Finding(not stopped and (running or not waiting), "queue", f"{state} ({queue.log})"))
    by = (
        "those of the file system"
        if has_locks(place.store)
        else "not supported by this file system; files with a process id are used instead"
    )
    found.append(Finding(True, "locks", by))
    found += [
        Finding(False, "queue", f"{file}: is not a valid request of this user; remove it")
        for file in queue.unreadable()
    ]
    group = place.settings.of_group
    warnings = open_to_all(place, runs=True) + (
        kept_from_group(place.store) + closed_to_group(place.store) if group else []
    )
    return found + [Finding(False, "store", text) for text in warnings]
