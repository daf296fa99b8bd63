"""What the cluster mode shows, asked on background threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsctl.tui.background import Answer
from rsctl.tui.plain import plain


@dataclass(frozen=True)
class FindingView:
    """One thing the doctor looked at."""

    ok: bool
    what: str
    text: str


class Examined(Answer):
    """The doctor is through."""

    def __init__(self, findings: list[FindingView]) -> None:
        super().__init__()
        self.findings = findings


class Profiles(Answer):
    """The profiles in force: name, backend and what is set."""

    def __init__(self, profiles: list[tuple[str, str, str]], file: str) -> None:
        super().__init__()
        self.profiles, self.file = profiles, file


class Partitions(Answer):
    """The cluster's partitions as rows of text, or why they can't be told."""

    def __init__(self, rows: Sequence[tuple[str, ...]], problem: str) -> None:
        super().__init__()
        self.rows, self.problem = rows, problem


def examine() -> Answer:
    from rsctl.cluster.doctor import examine as look
    from rsctl.spec.settings import load_settings

    return Examined(
        [FindingView(one.ok, plain(one.what, 60), plain(one.text, 1000)) for one in look(load_settings())]
    )


def profiles() -> Answer:
    from rsctl.spec.settings import load_settings

    place = load_settings()
    found = []
    for name, profile in place.settings.everywhere.items():
        given = profile.model_dump(exclude_unset=True, exclude={"backend"})
        told = ", ".join(f"{key} = {value}" for key, value in given.items()) or "defaults"
        found.append((name, str(profile.backend), plain(told, 500)))
    return Profiles(found, str(place.file) if place.file else "no rsctl.toml: the defaults hold")


def partitions() -> Answer:
    from rsctl.cluster.slurm_commands import partitions as ask
    from rsctl.errors import UserError

    try:
        known = ask()
    except UserError as error:
        return Partitions([], plain(str(error), 500))
    rows = [
        (
            plain(one.name + (" (default)" if one.default else ""), 60),
            "up" if one.up else "down",
            "none" if one.minutes == float("inf") else f"{one.minutes / 60:g} h",
            str(one.cpus),
            f"{one.memory_gb:.0f} GB",
            str(one.gpus),
        )
        for one in known.values()
    ]
    return Partitions(rows, "")
