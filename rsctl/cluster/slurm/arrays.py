"""Groups requests into job arrays, with their dependencies and sbatch options."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rsctl.cluster.slurm.commands import Partition
from rsctl.config.sections import StageResources
from rsctl.config.settings import SlurmProfile
from rsctl.errors import InputError, unknown
from rsctl.plan.tasks import Request
from rsctl.store.run_kinds import RunKind

ON_A_GPU = 3.0
"""GB of host memory that CUDA takes."""


@dataclass(frozen=True)
class Array:
    """Tasks submitted by one sbatch call."""

    requests: tuple[Request, ...]
    needs: tuple[str, ...]
    """Keys of the tasks that all of them wait for."""

    @property
    def kind(self) -> RunKind:
        return self.requests[0].task.run.kind

    @property
    def resources(self) -> StageResources:
        return self.requests[0].resources

    @property
    def processes(self) -> int:
        """Processes of one task, on all its nodes."""
        return 1 if self.kind.is_table else self.resources.processes

    @property
    def nodes(self) -> int:
        return 1 if self.kind.is_table else self.resources.nodes

    @property
    def code(self) -> str:
        return self.requests[0].code

    @property
    def name(self) -> str:
        """The job's name in the queue."""
        runs = {request.task.run.id for request in self.requests}
        return f"rsctl:{self.kind.verb}:{runs.pop() if len(runs) == 1 else f'{len(runs)}-runs'}"


def make_arrays(requests: Iterable[Request], longest: int) -> list[Array]:
    """Make one array of trainings; for tables of a kind, one per model or earlier levels still to be done and one for the
    rest.

    Tasks of different resources can't share an array, and none has more than `longest` tasks. Arrays that others
    wait for come first. One array per model, because a failed training cancels everything that waits for its array.
    """
    groups: dict[tuple[Any, ...], list[Request]] = {}
    needs: dict[tuple[Any, ...], dict[str, None]] = {}
    for request in requests:
        run = request.task.run
        missing = [need for need in request.needs if not need.is_done]
        group = (run.kind, tuple({need.run.key: None for need in missing}), request.code, request.resources)
        groups.setdefault(group, []).append(request)
        needs.setdefault(group, {}).update({need.key: None for need in missing})
    later = {request.task.key for members in groups.values() for request in members}
    arrays: list[Array] = []
    while groups:
        group = next(group for group in groups if later.isdisjoint(needs[group]))
        members = groups.pop(group)
        later -= {request.task.key for request in members}
        arrays += [
            Array(tuple(members[first : first + longest]), tuple(needs[group]))
            for first in range(0, len(members), longest)
        ]
    return arrays


def first_tasks(arrays: list[Array], most: float) -> list[Array]:
    """Cut the arrays to `most` tasks, in order, so that no task waits for one that was left out."""
    kept: list[Array] = []
    for array in arrays:
        left = most - sum(len(one.requests) for one in kept)
        if left < 1:
            break
        kept.append(array if len(array.requests) <= left else Array(array.requests[: int(left)], array.needs))
    return kept


def sbatch_parameters(
    array: Array, profile: SlurmProfile, partition: Partition, setup: list[str]
) -> dict[str, Any]:
    """Return the sbatch options by submitit's names; None leaves an option to the cluster."""
    resources = array.resources
    processes, nodes = array.processes, array.nodes
    minutes = resources.minutes or profile.minutes
    gpus, gres = gpus_of(resources, profile, partition, processes)
    memory = (
        resources.memory_gb
        or profile.memory_gb
        or estimated_memory(array, profile, partition, bool(gpus or gres))
    )
    return {
        "job_name": array.name,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gres": gres,
        "gpus_per_node": math.ceil(gpus / nodes) if gpus else None,
        "time": minutes,
        "mem": f"{math.ceil(memory * 1024)}M" if memory else None,
        "nodes": nodes,
        "ntasks_per_node": processes // nodes,
        "cpus_per_task": resources.threads,
        # Newer versions of srun don't inherit this option of sbatch.
        "srun_args": [f"--cpus-per-task={resources.threads}", "--kill-on-bad-exit=1"],
        "signal_delay_s": warning_seconds(profile, minutes),
        "array_parallelism": profile.array_parallelism,
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": setup,
    }


def estimated_memory(
    array: Array, profile: SlurmProfile, partition: Partition, on_gpus: bool
) -> float | None:
    """Return the estimated GB to request if the user set none; None if jobs get as much by default, or a whole node.

    At most what the partition has: with an estimate above that, SLURM would refuse the job or let it wait forever.
    """
    if not partition.memory or {"mem", "mem-per-cpu", "mem-per-gpu"} & profile.extra.keys():
        return None
    runs = {request.task.run for request in array.requests}
    launches = [run.launch() for run in runs]
    # What a GPU holds isn't taken from its host.
    wanted = max(
        float(each.get("reckoned_gb", 0)) - (float(each.get("network_gb", 0)) if on_gpus else 0)
        for each in launches
    )
    resources = array.resources
    processes, nodes = array.processes, array.nodes
    cpus = resources.threads * processes // nodes
    if not wanted or partition.memory.default(cpus) >= wanted:
        return None
    wanted += ON_A_GPU if on_gpus else 0
    return min(wanted, partition.memory.most(cpus), partition.memory_gb)


def warning_seconds(profile: SlurmProfile, minutes: int | None) -> int:
    """Return how many seconds before the time limit the warning signal is sent: at most a third of a short limit."""
    return min(profile.warning_seconds, minutes * 20) if minutes else profile.warning_seconds


def gpus_of(
    resources: StageResources, profile: SlurmProfile, partition: Partition, processes: int
) -> tuple[int, str | None]:
    """Return (GPUs of one task, the profile's gres); `auto` is one per process if the partition has GPUs."""
    if resources.gpus != "auto":
        return resources.gpus, None
    if profile.gres:
        return 0, profile.gres
    return (processes if partition.gpus else 0), None


def check_profile(
    name: str, profile: SlurmProfile, known: dict[str, Partition], arrays: list[Array]
) -> Partition:
    """Return the partition of the jobs; raises InputError with the key if they can't run there."""
    partition = partition_of(name, profile, known)
    for array in arrays:
        _check_resources(name, profile, partition, array)
    return partition


def partition_of(name: str, profile: SlurmProfile, known: dict[str, Partition]) -> Partition:
    """Return the profile's partition, or the cluster's default."""
    if profile.partition and profile.partition not in known:
        raise InputError(f"profiles.{name}.partition: {unknown('partition', profile.partition, known)}")
    default = next((p for p in known.values() if p.default), None)
    partition = known[profile.partition] if profile.partition else default
    if partition is None:
        raise InputError(
            f"profiles.{name}.partition: is required, because the cluster has no default partition. Allowed: {', '.join(sorted(known))}."
        )
    if not partition.up:
        up = ", ".join(sorted(p.name for p in known.values() if p.up)) or "(none)"
        raise InputError(f"profiles.{name}.partition: '{partition.name}' is not up. Allowed: {up}.")
    return partition


def _check_resources(name: str, profile: SlurmProfile, partition: Partition, array: Array) -> None:
    """Check the resources against the partition: SLURM accepts a dependent job with impossible requests and never starts it."""
    stage = array.kind.stage
    resources, where = array.resources, f"partition '{partition.name}'"
    processes, nodes = array.processes, array.nodes
    if processes % nodes:
        raise InputError(
            f"resources.training.processes: {processes} can't be spread evenly over {nodes} nodes."
        )
    minutes = resources.minutes or profile.minutes or 0
    if minutes > partition.minutes:
        key = f"resources.{stage}.minutes" if resources.minutes else f"profiles.{name}.minutes"
        raise InputError(
            f"{key}: {minutes} minutes; {where} allows {partition.minutes:g}. Lower it, or choose another partition."
        )
    cpus, gpus = resources.threads * processes // nodes, gpus_of(resources, profile, partition, processes)[0]
    memory = resources.memory_gb or profile.memory_gb or 0.0
    for key, wanted, there in (
        (f"resources.{stage}.threads", cpus, partition.cpus),
        (f"resources.{stage}.gpus", math.ceil(gpus / nodes), partition.gpus),
        (f"resources.{stage}.memory_gb" if resources.memory_gb else f"profiles.{name}.memory_gb", memory, partition.memory_gb),
    ):  # fmt: skip
        if wanted > there:
            raise InputError(
                f"{key}: {wanted:g} requested per node; the largest node of {where} has {there:g}. Lower it, or choose another partition."
            )


_REFUSALS = (
    # Before "account": SLURM's message is "accounting/QOS policy (job submit limit, …)".
    ("submit limit", "account, qos, minutes (or submit again later; array_parallelism doesn't help here)"),
    ("account", "account"),
    ("qos", "qos"),
    ("partition", "partition"),
    ("feature", "constraint"),
    ("gres", "gres"),
    ("time limit", "minutes"),
    ("memory", "memory_gb"),
    ("node configuration", "gres, constraint, memory_gb, or threads and gpus under the sweep's resources"),
)


def explain_refusal(message: str, profile: str) -> str:
    """Return sbatch's message with the profile's keys that it concerns."""
    refusal = " ".join(line for line in message.splitlines() if "sbatch" in line) or " ".join(message.split())
    keys = next((key for word, key in _REFUSALS if word in refusal.lower()), "partition, account, qos, extra")
    return f"SLURM refused the job: {refusal.replace('sbatch: error: ', '')}. Check profiles.{profile}: {keys}. Nothing was submitted."
