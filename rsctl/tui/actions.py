"""Actions on sweeps; each runs on a background thread and returns a message."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rsctl.errors import InputError, unknown
from rsctl.text import counted
from rsctl.tui.read_only import changes

if TYPE_CHECKING:
    from rsctl.plan.plan import Plan
    from rsctl.store.layout import Store

MOST_NOTES = 4
MOST_LISTED = 12


class Acted(NamedTuple):
    """An action finished with the message `text`; `dropped` names open tasks that no sweep needs any more."""

    text: str
    dropped: Sequence[str] = ()


Action = Callable[[], Acted]


@changes
def cancel(what: str, names: list[str]) -> Acted:
    """Cancel the unfinished tasks of sweeps or runs."""
    from rsctl.cluster import control
    from rsctl.config.settings import load_settings

    tasks, others = control.cancel(load_settings(), names)
    done = f"cancelled {counted(len(tasks), 'task')}" if tasks else "nothing left to cancel"
    users = ", ".join(sorted(set(others.values())))
    left = f"; {counted(len(others), 'task')} of {users} not cancelled" if others else ""
    return Acted(f"{what}: {done}{left}")


@changes
def retry(
    what: str, name: str, minutes: int | None = None, memory_gb: float | None = None, of: str = ""
) -> Acted:
    """Restart the failed, lost and cancelled tasks of a sweep, run or task of the confirmed user, with the given limits, if any."""
    from rsctl.cluster import retry
    from rsctl.config.settings import load_settings

    tasks, note = retry.retry(load_settings(), name, minutes=minutes, memory_gb=memory_gb, of=[of])
    done = f"{counted(len(tasks), 'task')} restarted" if tasks else "nothing to restart"
    return Acted(f"{what}: {done}" + (f"\n{note}" if note else ""))


def limits(text: str) -> dict[str, float]:
    """Parses limits such as `minutes=240 memory_gb=64`; raises InputError."""
    found: dict[str, float] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in ("minutes", "memory_gb"):
            raise InputError(unknown("limit", key, ("minutes", "memory_gb")))
        try:
            number = float(value)
        except ValueError as error:
            raise InputError(f"{word}: '{value}' is not a number.") from error
        if not 0 < number < float("inf"):
            raise InputError(f"{word}: a limit must be above 0.")
        if key == "minutes" and number != int(number):
            raise InputError(f"{word}: minutes must be a whole number.")
        found[key] = number
    return found


@changes
def keep_going(sweep: str) -> Acted:
    """Make sure that a queue serves the waiting tasks."""
    from rsctl.cluster import control
    from rsctl.config.settings import load_settings

    control.revive_queue(load_settings(), sweep)
    return Acted(f"{sweep}: no failed, lost or cancelled tasks; its open tasks are in the queue")


def plan(file: Path) -> str:
    """Plan a sweep file; nothing is written. Raises UserError for an invalid one."""
    from rsctl.cluster.control import plan_file
    from rsctl.config.settings import load_settings
    from rsctl.plan.describe import describe
    from rsctl.store.layout import Store

    place = load_settings()
    planned = plan_file(file, place)
    changes = describe_changes(Store(place.store), planned)
    return "\n\n".join(filter(None, [changes, describe(planned, place).text]))


def describe_changes(store: Store, plan: Plan) -> str:
    """The changes to an existing sweep of this name; empty if it is unchanged or new."""
    from rsctl.plan.changed import check_name
    from rsctl.store.records import UnreadableRecord
    from rsctl.store.sharing import owner_of_sweep

    owner = owner_of_sweep(store, plan.sweep.name)
    kept = " from the sweep (its results stay in the store)"
    try:
        found = check_name(store, plan, update=True)
    except UnreadableRecord as error:
        return str(error)
    notes = [note.removeprefix("update: ").removesuffix(kept) for note in found]
    if not notes:
        return ""
    rest = [f"… and {len(notes) - MOST_NOTES} more"] if len(notes) > MOST_NOTES else []
    told = "".join(f"\n  {note}" for note in [*notes[:MOST_NOTES], *rest])
    whose = f"A sweep of user {owner} with this name" if owner else "A sweep with this name"
    return f"{whose} exists; this changes its runs (results are kept):{told}"


@changes
def submit(file: Path, update: bool) -> Acted:
    """Submit a sweep file; the owner of a sweep that it changes was shown before (`describe_changes`)."""
    from rsctl.cluster import dropped
    from rsctl.config.settings import load_settings

    done, left = dropped.submit(file, load_settings(), update=update, of=None)
    # The changes were shown before.
    notes = "".join(f"\n{note}" for note in done.committed.notes if not note.startswith("update: "))
    already = f", {done.committed.done} already done" if done.committed.done else ""
    text = f"{done.plan.sweep.name}: {counted(done.added, 'task')} submitted{already}{notes}"
    return Acted(text, [status.task.key for status in left])


def plan_deletion(sweep: str) -> tuple[str, frozenset[Path], str]:
    """The folders that would be deleted with a sweep, as text and as paths, and its other owner; changes nothing. Raises UserError."""
    from rsctl.cluster.prune import RECENT, leftovers, sweep_folders
    from rsctl.config.settings import load_settings
    from rsctl.store.layout import Store
    from rsctl.store.sharing import owner_of_sweep

    place = load_settings()
    owner = owner_of_sweep(Store(place.store), sweep)
    found = leftovers(place, [sweep], of=[owner])
    young = len(leftovers(place, [sweep], recent=-1.0, of=[owner])) - len(found)
    listed = [*sweep_folders(place, [sweep]), *found]
    total = sum(one.size for one in listed) / 1e6
    lines = [f"{counted(len(listed), 'folder')} ({total:.1f} MB) will be deleted permanently:", ""]
    lines[:0] = [f"User {owner} submitted this sweep.", ""] if owner else []
    lines += [
        f"{one.size / 1e6:8.1f} MB  {one.path.relative_to(place.store)}" for one in listed[:MOST_LISTED]
    ]
    lines += [f"… and {len(listed) - MOST_LISTED} more"] if len(listed) > MOST_LISTED else []
    if young:
        lines += [
            "",
            f"{young} more were submitted in the last {RECENT / 60:.0f} minutes and are kept; 'rsctl prune' removes them later.",
        ]
    return "\n".join(lines), frozenset(one.path for one in found), owner


@changes
def delete_sweep(sweep: str, folders: frozenset[Path], of: str = "") -> Acted:
    """Delete a sweep of the confirmed user, and those of the listed folders that still no other sweep shares."""
    from rsctl.cluster.prune import leftovers, remove
    from rsctl.config.settings import load_settings

    place = load_settings()
    remove(place, [one for one in leftovers(place, [sweep], of=[of]) if one.path in folders], [sweep])
    return Acted(f"{sweep}: deleted")


@changes
def editor() -> list[str]:
    """The command of $VISUAL or $EDITOR, else vi; raises InputError if there is none."""
    for name in ("VISUAL", "EDITOR"):
        if os.environ.get(name, "").strip():
            return shlex.split(os.environ[name])
    if shutil.which("vi"):
        return ["vi"]
    raise InputError("No editor found: set EDITOR, for example EDITOR=nano.")


@changes
def working_copy(store: str, sweep: str) -> Path:
    """A copy of a sweep's file to edit; the one in the store records what was submitted."""
    text = (Path(store) / "sweeps" / sweep / "sweep.toml").read_bytes()
    copy = Path(tempfile.mkdtemp(prefix="rsctl-")) / f"{sweep}.toml"
    copy.write_bytes(text)
    return copy
