"""`rsctl pull`: tables, curves and logs of sweeps on another machine, put into the store here."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rsctl.config.names import check_name
from rsctl.config.settings import Place
from rsctl.errors import InputError, RefusedError, UnavailableError
from rsctl.package.unpacking import unpack
from rsctl.remote.connection import Connection
from rsctl.store.attempts import State
from rsctl.store.layout import Store
from rsctl.store.pulled import PULLED, PulledRecord, PulledTask, pulled, pulled_sweeps, write_pulled
from rsctl.store.received import held, received

MOST = 16 << 30
"""Most bytes of a package."""
OPEN = ("waiting", "queued", "running", "unknown")
"""States of tasks that may still change by themselves."""


@dataclass(frozen=True)
class Pulled:
    """The result of pulling one sweep."""

    sweep: str
    """Its name in this store."""
    record: PulledRecord
    bytes: int
    """Bytes that were transferred."""
    changed: int
    """Folders of the store that are new or were renewed."""

    @property
    def is_open(self) -> bool:
        return any(self.record["states"].get(state) for state in OPEN)


def pull(connection: Connection, place: Place, sweep: str) -> Pulled:
    """Bring the results of a sweep, finished or not; parts that were pulled before aren't sent again. Safe to repeat.

    Raises
    ------
    RefusedError
        The store has other results for one of the runs, or other sweeps under both names that it could have. Nothing was written.
    UnavailableError
        The other side has no such sweep, or what it sent isn't a package.
    """
    try:
        check_name(sweep)
    except ValueError as error:
        raise InputError(f"sweep '{sweep}': {error}.") from error
    store = Store(place.store)
    name = local_name(store, connection.name, sweep)
    record = _status(connection, sweep)
    with tempfile.TemporaryDirectory(prefix="rsctl-pull-") as folder:
        file = Path(folder) / f"{sweep}.rsctl"
        with open(file, "xb") as stream:
            connection.download(
                f'{connection.environment()}\n"$rsctl" pack {shlex.quote(sweep)} --logs --without - -o -',
                stream, MOST, feed=_feed(held(store, name)),
            )  # fmt: skip
        found = unpack(file, store, name=name, origin=connection.name)
        write_pulled(store, name, record)
        changed = len(found.folders) - found.count("kept")
        return Pulled(name, record, file.stat().st_size, changed)


def local_name(store: Store, remote: str, sweep: str) -> str:
    """The name that a sweep has in this store: its own, or with the remote's name where another sweep has that."""
    for name, one in pulled_sweeps(store).items():
        if (one["remote"], one["sweep"]) == (remote, sweep):
            return name
    names = {*store.sweep_names(), *store.import_only()}
    for name in (sweep, f"{sweep}-{remote}"):
        if name not in names:
            return name
        before = received(store.sweep_folder(name))
        if before and before["origin"] == remote and not pulled(store, name):
            return name  # a pull was killed before its last step
    raise RefusedError(
        f"sweep '{sweep}': this store has other sweeps named {sweep} and {sweep}-{remote}. Pull it into another store (RSCTL_STORE)."
    )


def _feed(hashes: list[str]) -> Any:
    def feed(stream: BinaryIO) -> None:
        stream.write("".join(f"{one}\n" for one in hashes).encode())

    return feed


def _status(connection: Connection, sweep: str) -> PulledRecord:
    """The states of a sweep's tasks there, checked: the other side may send anything."""
    text = connection.output(f'{connection.environment()}\n"$rsctl" status {shlex.quote(sweep)} --json')
    try:
        (found,) = json.loads(text)["sweeps"]
        tasks = {
            f"{run['run']}/{task['task']}": task for run in found.get("runs", ()) for task in run["tasks"]
        }
        values = {
            "remote": connection.name, "sweep": sweep, "time": time.time(), "states": found["states"], "progress": found["progress"],
            "tasks": {
                key: {name: task[name] for name in PulledTask.__annotations__}
                for key, task in tasks.items() if task["state"] != State.DONE
            },
        }  # fmt: skip
        record: PulledRecord = PULLED.adapter.validate_json(json.dumps(values))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnavailableError(
            f"{connection.name}: its 'status' isn't one that this version reads. 'rsctl remote setup {connection.name}' installs this version there."
        ) from error
    return record
