"""Maps SLURM's states to rsctl's and keeps SLURM's message."""

from __future__ import annotations

import time

from rsctl.cluster.backend import BackendState
from rsctl.cluster.slurm.commands import JobRow
from rsctl.store.attempts import State

_FILES_APPEAR_WITHIN = 120.0
"""Seconds within which a network file system shows what a task wrote before it ended."""

_STATES = {
    name: state
    for state, names in {
        State.QUEUED: "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD SPECIAL_EXIT RESV_DEL_HOLD SUSPENDED STOPPED",
        State.RUNNING: "RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT",
        State.FAILED: "FAILED TIMEOUT OUT_OF_MEMORY DEADLINE",
        State.CANCELLED: "CANCELLED REVOKED",
        State.LOST: "NODE_FAIL BOOT_FAIL LAUNCH_FAILED RECONFIG_FAIL PREEMPTED",
    }.items()
    for name in names.split()
}
_ADVICE = {
    "FAILED": "its log may say why; retry to resume",
    "TIMEOUT": "retry with --minutes",
    "OUT_OF_MEMORY": "retry with --memory-gb",
    "NODE_FAIL": "retry to resume",
    "PREEMPTED": "retry to resume",
}
_DEPENDENCY = ("Dependency", "DependencyNeverSatisfied")


def state_of(row: JobRow) -> BackendState:
    """Convert a row of the queue or of accounting to the state of its task."""
    text = f"{row.state} ({row.reason})" if row.reason else row.state
    if row.state in ("COMPLETED", "CD"):
        if time.time() - row.ended < _FILES_APPEAR_WITHIN:
            return BackendState(
                State.UNKNOWN, "SLURM reports COMPLETED; its result isn't visible here yet", row.node
            )
        return BackendState(
            State.LOST, "SLURM reports COMPLETED, but there is no result; see its log", row.node
        )
    state = _STATES.get(row.state, State.UNKNOWN)
    if state == State.QUEUED and row.reason in _DEPENDENCY:
        return BackendState(State.WAITING, "waits for its model")
    if state == State.CANCELLED and row.reason in _DEPENDENCY:
        return BackendState(state, "the job of its model failed, so SLURM cancelled it; retry both")
    if state == State.RUNNING:
        return BackendState(state, "" if row.state == "RUNNING" else text, row.node)
    return BackendState(state, f"SLURM: {text}{advice_for(row.state)}", row.node)


def advice_for(state: str) -> str:
    """Return the remedy to append to a reason, or empty."""
    return f"; {_ADVICE[state]}" if state in _ADVICE else ""
