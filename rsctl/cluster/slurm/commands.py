"""Runs SLURM's commands with fixed output formats and parses the queue, accounting, limits and partitions."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from functools import cache

from rsctl.cluster.slurm.memory import PartitionMemory
from rsctl.errors import UnavailableError

TIMEOUT = 60
_SEPARATOR = "|"
_QUEUE_FORMAT = _SEPARATOR.join(("%F", "%K", "%T", "%r", "%N", "%e", "%k"))
_ACCOUNTING_FORMAT = ("JobID", "State", "Reason", "NodeList", "End")
_CONTROLLER_ABSENT = re.compile(r"contact slurm controller|connection refused|timed out|no route", re.I)


@dataclass(frozen=True)
class JobRow:
    """SLURM's state of one task of a job."""

    state: str
    """State as SLURM spells it, such as PENDING."""
    reason: str = ""
    node: str = ""
    ended: float = 0.0
    """Unix time of its end, or of its time limit; 0 if there is none."""


@dataclass(frozen=True)
class QueueView:
    """A snapshot of the queue."""

    rows: dict[str, JobRow]
    """By `<job>_<index>`, or `<job>` for jobs that aren't arrays."""
    comments: dict[str, list[str]]
    """Comment → the jobs with that comment."""
    unreadable: int = 0
    """Rows that couldn't be parsed."""
    taken: float = field(default_factory=time.time)


def environment() -> dict[str, str]:
    """Return the environment for SLURM's commands, without user settings that change their output.

    SLURM_CLUSTERS is removed too: it would redirect queries to another cluster than the one that jobs are submitted to.
    """
    hidden = ("SQUEUE_", "SACCT_", "SINFO_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "SLURM_CLUSTERS")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def run_command(*command: str, timeout: float = TIMEOUT) -> str:
    """Return the stdout of a command; raises UnavailableError with its error message."""
    try:
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=timeout,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UnavailableError(
            f"'{command[0]}' isn't on this machine's PATH. Run rsctl on a login node of the cluster, or choose another profile."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"SLURM doesn't answer: '{command[0]}' took more than {timeout:.0f} s."
        ) from error
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        failure = "SLURM's controller doesn't answer" if _CONTROLLER_ABSENT.search(words) else command[0]
        raise UnavailableError(f"{failure}: {words or f'exit code {done.returncode}'}")
    return done.stdout


def read_queue() -> QueueView:
    """Query every job of this user that the controller remembers."""
    output = run_command(
        "squeue",
        "--array",
        "--noheader",
        "--states=all",
        f"--user={os.getuid()}",
        f"--format={_QUEUE_FORMAT}",
    )
    rows: dict[str, JobRow] = {}
    comments: dict[str, list[str]] = {}
    unreadable = 0
    for line in output.splitlines():
        parts = line.split(_SEPARATOR, 6)
        if len(parts) != 7 or not parts[0].isdigit():
            unreadable += bool(line.strip())
            continue
        job, index, state, reason, node, ended, comment = (part.strip() for part in parts)
        key = f"{job}_{index}" if index.isdigit() else job
        rows[key] = JobRow(state, "" if reason == "None" else reason, node, _unix(ended))
        if comment and comment != "(null)":
            comments.setdefault(comment, []).append(key)
    return QueueView(rows, comments, unreadable)


def read_accounting(jobs: set[str], since: float) -> tuple[dict[str, JobRow], int]:
    """Query accounting for these jobs (without index); also returns how many rows couldn't be parsed.

    `since` is the Unix time of the oldest submission: without a start, sacct shows only today.
    """
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(max(0.0, since - 60)))
    output = run_command(
        "sacct", "--allocations", "--noheader", "--parsable2", f"--starttime={start}",
        f"--format={','.join(_ACCOUNTING_FORMAT)}", f"--jobs={','.join(sorted(jobs))}",
    )  # fmt: skip
    rows: dict[str, JobRow] = {}
    unreadable = 0
    for line in output.splitlines():
        parts = line.split(_SEPARATOR)
        keys = _job_keys(parts[0])
        if len(parts) != len(_ACCOUNTING_FORMAT) or not keys:
            unreadable += 1
            continue
        state, reason, node, ended = parts[1:]
        # "CANCELLED by 1000": the first word is the state, the number a user.
        word, _, rest = state.partition(" ")
        row = JobRow(
            word, rest or ("" if reason == "None" else reason), "" if "None" in node else node, _unix(ended)
        )
        rows |= dict.fromkeys(keys, row)
    return rows, unreadable


def _job_keys(text: str) -> list[str]:
    """Expand `12`, `12_3` or `12_[0-2,5%4]` to keys of a queue view; empty for anything else."""
    match = re.fullmatch(r"(\d+)(?:_(\d+)|_\[([\d,-]+)(?:%\d+)?\])?", text)
    if match is None:
        return []
    job, index, ranges = match.groups()
    if ranges is None:
        return [f"{job}_{index}" if index is not None else job]
    keys = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        keys += [f"{job}_{number}" for number in range(int(first), int(last or first) + 1)]
    return keys


def _unix(text: str) -> float:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


@dataclass(frozen=True)
class Limits:
    """Properties and limits of the cluster."""

    cluster: str
    version: str
    longest_array: int
    """Maximum tasks of one array: MaxArraySize, or max_array_tasks if that is lower; 1 if arrays are disabled."""
    max_job_count: int
    """Maximum number of jobs that the controller keeps for all users."""
    accounting: bool
    limits_enforced: bool
    """True if the limits of associations and QOS are enforced."""
    memory: PartitionMemory | None = None
    """Memory of a job that requests none; None if memory isn't allocated and jobs see all of their node's."""


@dataclass(frozen=True)
class Partition:
    """One partition, as sinfo shows it."""

    name: str
    default: bool
    up: bool
    minutes: float
    """Longest time limit; infinite if there is none."""
    cpus: int
    """CPUs of its largest node."""
    memory_gb: float
    """Memory of its largest node."""
    gpus: int
    """GPUs of the node with the most."""
    memory: PartitionMemory | None = None
    """Memory of a job that requests none; None if memory isn't allocated or wasn't queried."""


@cache
def limits() -> Limits:
    """Return name, version, array size and accounting of the cluster, queried once per process."""
    values = dict(
        re.findall(r"^(\w+)\s+= (.*?)\s*$", run_command("scontrol", "show", "config"), re.M),
    )
    longest = int(values.get("MaxArraySize", "1001"))
    if lower := re.search(r"\bmax_array_tasks=(\d+)", values.get("SchedulerParameters", "")):
        longest = min(longest, int(lower[1]))
    return Limits(
        cluster=values.get("ClusterName", ""),
        version=values.get("SLURM_VERSION", ""),
        longest_array=max(1, longest),
        max_job_count=int(values.get("MaxJobCount", "10000")),
        # In current versions sacct can query only slurmdbd.
        accounting="slurmdbd" in values.get("AccountingStorageType", ""),
        limits_enforced="limits" in values.get("AccountingStorageEnforce", ""),
        memory=PartitionMemory.of(values)
        if "MEMORY" in values.get("SelectTypeParameters", "").upper()
        else None,
    )


def partitions() -> dict[str, Partition]:
    """Return every partition by name, with the CPUs, memory and GPUs of its largest nodes."""
    found: dict[str, Partition] = {}
    for line in run_command("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%c|%m|%G").splitlines():
        parts = line.split(_SEPARATOR)
        if len(parts) != 6:
            continue
        name = parts[0].rstrip("*")
        cpus, memory = (int(re.sub(r"\D.*", "", part) or 0) for part in parts[3:5])
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,()]+)?:(\d+)", parts[5]))
        before = found.get(name)
        if before:
            cpus, gpus = max(cpus, before.cpus), max(gpus, before.gpus)
        memory_gb = max(memory / 1024, before.memory_gb if before else 0.0)
        up, minutes = parts[1] == "up", _minutes(parts[2])
        found[name] = Partition(name, parts[0].endswith("*"), up, minutes, cpus, memory_gb, gpus)
    return found


def with_memory(partition: Partition, cluster: Limits) -> Partition:
    """Return the partition with its memory settings; where it sets none, the cluster's."""
    if cluster.memory is None:
        return partition
    own = dict(
        re.findall(r"(\w+)=(\S*)", run_command("scontrol", "show", "partition", partition.name, "--oneliner"))
    )
    if (
        own.get("SelectTypeParameters", "NONE").upper() not in ("NONE", "")
        and "MEMORY" not in own["SelectTypeParameters"].upper()
    ):
        return partition
    return replace(partition, memory=PartitionMemory.of(own).over(cluster.memory))


def _minutes(text: str) -> float:
    """Convert SLURM's `days-hours:minutes:seconds` to minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if match is None:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def cancel_jobs(jobs: list[str]) -> None:
    """Cancel jobs and array tasks, a few hundred per call."""
    for first in range(0, len(jobs), 500):
        run_command("scancel", *compress(jobs[first : first + 500]))


def compress(jobs: list[str]) -> list[str]:
    """Compress `12_0 12_1 12_2 13` to `12_[0-2] 13`, because the length of a command line is limited."""
    indices: dict[str, list[int]] = {}
    words: list[str] = []
    for job in jobs:
        number, _, index = job.partition("_")
        if index:
            indices.setdefault(number, []).append(int(index))
        else:
            words.append(job)
    for number, listed in indices.items():
        ranges: list[list[int]] = []
        for one in sorted(set(listed)):
            if ranges and one == ranges[-1][1] + 1:
                ranges[-1][1] = one
            else:
                ranges.append([one, one])
        text = ",".join(f"{a}-{b}" if a != b else str(a) for a, b in ranges)
        words.append(f"{number}_[{text}]")
    return words
