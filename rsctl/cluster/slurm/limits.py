"""Counts how many more jobs the cluster accepts from this user; each task of an array counts as one.

The limits of associations and QOS, in SLURM's own order of precedence (its manual, "Resource Limits"): of the
partition's QOS and the job's the first that sets a limit holds, and only where neither does the association's.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rsctl.cluster.slurm.commands import Limits, Partition, QueueView, run_command
from rsctl.config.settings import SlurmProfile
from rsctl.errors import UnavailableError
from rsctl.owners import user_name


@dataclass(frozen=True)
class Room:
    """The number of tasks that still fit."""

    jobs: float
    """Number of tasks that may still be submitted; infinite if no limit is known."""
    why: str = ""
    """The limit that applies, as a sentence without a full stop."""


@dataclass(frozen=True)
class _Limit:
    most: int
    held: int
    name: str
    whose: str

    @property
    def room(self) -> Room:
        held = f"{self.held} are already queued" if self.held != 1 else "1 is already queued"
        return Room(
            max(0, self.most - self.held),
            f"{self.whose} may have {self.most} jobs in the queue ({self.name}); {held}",
        )


def room_for(profile: SlurmProfile, partition: Partition, cluster: Limits, view: QueueView) -> Room:
    """Return how many more tasks this profile may submit, by the limits that the cluster reveals; sbatch enforces the others."""
    rooms = [Room(math.inf)]
    # The controller also keeps ended jobs for a while and other users' jobs, which can't be counted here.
    kept = cluster.max_job_count - 1 - len(view.rows)
    rooms.append(
        Room(
            max(0, kept), f"the cluster keeps at most {cluster.max_job_count} jobs of all users (MaxJobCount)"
        )
    )
    if cluster.limits_enforced:
        # An older cluster may not support these queries, or keep its limits private.
        with contextlib.suppress(UnavailableError):
            rooms += [limit.room for limit in _limits(profile, partition, cluster.cluster)]
    return min(rooms, key=lambda room: room.jobs)


def _limits(profile: SlurmProfile, partition: Partition, cluster: str) -> Iterator[_Limit]:
    user = user_name(os.getuid())
    output = run_command("scontrol", "show", "assoc_mgr", f"users={user}", "flags=assoc,qos")
    parts = re.split(r"^(?=ClusterName=|QOS=)", output, flags=re.M)[1:]
    records = [dict(re.findall(r"(\w+)=(\S*)", text)) | {"text": text} for text in parts]
    accounts = {r["Account"]: r for r in records if "Account" in r and not r["UserName"]}
    own = [
        r
        for r in records
        if r.get("UserName", "").partition("(")[0] == user and r.get("Partition") in ("", partition.name)
    ]
    account = (
        profile.account
        or os.environ.get("SBATCH_ACCOUNT")
        or next((r["Account"] for r in own if r.get("DefAssoc") == "Yes"), "")
    )
    own = sorted((r for r in own if r["Account"] == account), key=lambda r: not r["Partition"])
    if not own:
        return
    names = _qos_names(profile, partition, user, account, cluster)
    usage = {r["QOS"].partition("(")[0]: r["text"] for r in records if "QOS" in r}
    rules = _qos_rules(names)
    set_by_qos = set()
    for kind, whose, block in (
        ("GrpSubmitJobs", "all users together", None),
        ("MaxSubmitJobsPU", f"user {user}", str(os.getuid())),
        ("MaxSubmitJobsPA", f"account {account}", account),
    ):  # fmt: skip
        name = next((name for name in rules if kind in rules[name]), None)
        if name is not None:
            set_by_qos.add(kind)
            held = _held(usage.get(name, ""), kind, block, user)
            yield _Limit(rules[name][kind], held, f"{kind} of QOS {name}", whose)
    if not {"MaxSubmitJobsPU", "MaxSubmitJobsPA"} & set_by_qos:
        yield from _of_record(own[0], "MaxSubmitJobs", f"user {user} of account {account}")
    if "GrpSubmitJobs" not in set_by_qos:
        yield from _of_record(own[0], "GrpSubmitJobs", f"user {user} of account {account}")
        while account in accounts:
            record = accounts.pop(account)
            yield from _of_record(record, "GrpSubmitJobs", f"account {account}")
            account = record["ParentAccount"].partition("(")[0]


def _of_record(record: dict[str, str], name: str, whose: str) -> Iterator[_Limit]:
    """Parse `20(7)`: 7 of 20; `N(7)` or nothing: no limit."""
    match = re.fullmatch(r"(\d+)\((\d+)\)", record.get(name, ""))
    if match:
        yield _Limit(int(match[1]), int(match[2]), name, whose)


def _qos_names(
    profile: SlurmProfile, partition: Partition, user: str, account: str, cluster: str
) -> list[str]:
    """Return the partition's QOS, then the job's own."""
    own = profile.qos or os.environ.get("SBATCH_QOS")
    if not own:
        output = run_command(
            "sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", f"account={account}",
            f"cluster={cluster}", "format=Partition,DefaultQOS",
        )  # fmt: skip
        rows = sorted((line.split("|") for line in output.splitlines() if line.count("|") == 1), reverse=True)
        own = next((qos for where, qos in rows if where in ("", partition.name) and qos), "normal")
    output = run_command("scontrol", "show", "partition", partition.name, "--oneliner")
    match = re.search(r"\bQoS=(\S+)", output)
    return [name for name in (match[1] if match else "N/A", own) if name != "N/A"]


def _qos_rules(names: list[str]) -> dict[str, dict[str, int]]:
    """Map QOS → its limits, in order of precedence."""
    columns = ("GrpSubmitJobs", "MaxSubmitJobsPU", "MaxSubmitJobsPA")
    output = run_command(
        "sacctmgr", "--noheader", "--parsable2", "show", "qos", f"name={','.join(names)}",
        "format=Name,Flags,GrpSubmitJobs,MaxSubmitJobsPU,MaxSubmitJobsPA",
    )  # fmt: skip
    rows = {parts[0]: parts[1:] for line in output.splitlines() if len(parts := line.split("|")) == 5}
    ordered = sorted(
        (name for name in names if name in rows), key=lambda name: "OverPartQOS" not in rows[name][0]
    )
    return {
        name: {
            column: int(text) for column, text in zip(columns, rows[name][1:], strict=True) if text.isdigit()
        }
        for name in ordered
    }


def _held(text: str, kind: str, block: str | None, user: str) -> int:
    """Return how many jobs a QOS counts already, in total or for one user or account."""
    if block is not None:
        names = "|".join(re.escape(name) for name in (block, user, f"{user}({block})"))
        match = re.search(rf"^ +(?:{names})\n +(.*{kind}.*)$", text, re.M)
        text = match[1] if match else ""
    match = re.search(rf"{kind}=\w*\((\d+)\)", text)
    return int(match[1]) if match else 0
