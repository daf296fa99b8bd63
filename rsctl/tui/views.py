"""The data that the screens show, as plain values: no files, no arrays, no slow imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rsctl.text import counted as count_text

OPEN_STATES = ("running", "queued", "waiting", "unknown")
BAD_STATES = ("failed", "lost")
STATES = ("running", "queued", "waiting", "failed", "lost", "cancelled", "unknown", "new", "done")
"""As `rsctl.store.attempts.State`, the most important first."""
CASCADES = "cascades"
"""Kind of a row that is derived from other runs."""
GLYPHS = {
    "running": "●", "queued": "○", "waiting": "◌", "failed": "✗", "lost": "✗", "cancelled": "⊘", "unknown": "?", "new": "·", "done": "✓",
}  # fmt: skip


@dataclass(frozen=True)
class TaskView:
    """One task."""

    key: str
    name: str
    """`train`, or `certify 3`."""
    run: str
    number: int
    state: str
    reason: str = ""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    rate: float = 0.0
    node: str = ""
    attempt: int = 0
    updated: float = 0.0
    warning: str = ""
    """A warning that its run's network learned nothing, else empty."""

    @property
    def progress(self) -> float:
        return 1.0 if self.state == "done" else min(1.0, self.done / self.total) if self.total else 0.0


@dataclass(frozen=True)
class RunView:
    """One row of the sweep's table: a model and its certification."""

    key: str
    sweep: str
    title: str
    name: str
    """The part of the title that distinguishes it from the sweep's other runs."""
    model: str
    counts: str
    settings: Mapping[str, Any]
    """Every resolved setting, by its key in a sweep file."""
    entry: Mapping[str, Any]
    """Its entry in the sweep's plan: images, alpha, certificates, radii."""
    tasks: tuple[TaskView, ...]
    problem: str = ""
    """The error that prevents reading its files, else empty."""

    @cached_property
    def warning(self) -> str:
        """A warning that its network learned nothing, else empty."""
        return next((task.warning for task in self.tasks if task.warning), "")

    @property
    def imported(self) -> bool:
        """True for an imported log, which has no tasks."""
        return self.entry.get("kind") == "imports"

    @property
    def derived(self) -> bool:
        """True for a cascade, whose tasks are those of its levels."""
        return self.entry.get("kind") == CASCADES

    @cached_property
    def progress(self) -> ProgressView:
        """Progress of all its tasks."""
        return progress_of(self.tasks)

    @cached_property
    def stage_progress(self) -> ProgressView:
        """Progress of the tasks of its stage."""
        return progress_of(self.stage_tasks)

    @property
    def training(self) -> tuple[TaskView, ...]:
        return tuple(task for task in self.tasks if task.run.startswith("models/"))

    @property
    def certification(self) -> tuple[TaskView, ...]:
        return tuple(task for task in self.tasks if not task.run.startswith("models/"))

    @property
    def stage(self) -> str:
        """`train` until the model is trained, then `certify`."""
        return "certify" if all(task.state == "done" for task in self.training) else "train"

    @property
    def stage_tasks(self) -> tuple[TaskView, ...]:
        return self.training if self.stage == "train" else self.certification


@dataclass(frozen=True)
class SweepView:
    """One sweep."""

    name: str
    description: str
    cluster: str
    submitted: float
    runs: tuple[RunView, ...]
    remote: str = ""
    """The remote that it was pulled from, where it runs; else empty."""
    owner: str = ""
    """The other user who first submitted it; empty if this user did."""

    @cached_property
    def tasks(self) -> tuple[TaskView, ...]:
        """All tasks, each once: runs may share a model, and a cascade's levels may be another sweep's."""
        own = (run for run in self.runs if not run.derived)
        return tuple({task.key: task for run in own for task in run.tasks}.values())

    @cached_property
    def counts(self) -> str:
        """`4 runs, 2 cascades, 1 log`."""
        logs, cascades = sum(run.imported for run in self.runs), sum(run.derived for run in self.runs)
        numbers = ((len(self.runs) - logs - cascades, "run"), (cascades, "cascade"), (logs, "log"))
        return ", ".join(count_text(number, what) for number, what in numbers if number)

    @cached_property
    def progress(self) -> ProgressView:
        """Progress of all its tasks."""
        return progress_of(self.tasks)

    def run(self, key: str) -> RunView | None:
        return next((run for run in self.runs if run.key == key), None)


@dataclass(frozen=True)
class Overview:
    """The contents of the store at one moment."""

    store: str
    sweeps: tuple[SweepView, ...]
    problems: tuple[str, ...]
    taken: float
    """Unix time."""
    unheard: float = 0.0
    """Unix time of the scheduler's last response while it doesn't respond, else 0; -1 if it never did."""
    notify: str = "off"
    """Notification of a sweep's end: `desktop`, `bell` or `off`."""
    dropped: tuple[TaskView, ...] = ()
    """Open tasks that no sweep needs any more."""

    def sweep(self, name: str) -> SweepView | None:
        return next((sweep for sweep in self.sweeps if sweep.name == name), None)


@dataclass(frozen=True)
class Curve:
    """Certified accuracy against radius, or accuracy under an attack against distance, of the finished images."""

    run: str
    title: str
    certificate: str
    """Name of the certificate, verifier or attack."""
    guarantee: str
    norm: str
    alpha: float
    n: int
    images: int
    planned: int
    radii: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    acr: float = float("nan")
    abstain_rate: float = float("nan")
    cap_share: float = float("nan")
    problems: tuple[str, ...] = ()
    columns: tuple[tuple[float, float, float, float], ...] = ()
    """Radius, certified accuracy and its interval at the radii of the sweep's table."""
    warning: str = ""
    """A warning that the network learned nothing, else empty."""
    attacked: bool = False
    """True for accuracy under attack, which certifies nothing."""


@dataclass(frozen=True)
class ImageView:
    """One image of a run; predicted is -1 where the certificate abstains."""

    index: int
    label: int
    predicted: int
    radius: float
    """The certified radius; for an attack, the distance of the nearest adversarial image, infinite if none is known."""
    first: int
    second: int
    n: int
    seconds: float


@dataclass(frozen=True)
class TrainingCurve:
    """Values of a training by epoch."""

    title: str
    epochs: tuple[float, ...]
    values: Mapping[str, tuple[float, ...]]
    """`loss`, `accuracy` and `lr`."""


@dataclass(frozen=True)
class ProgressView:
    """Summary of several tasks."""

    state: str
    """The most important of their states."""
    text: str
    """`running`, or `running ✗2` where two have failed."""
    share: float
    rate: float = 0.0
    unit: str = ""
    left: float | None = None
    """Estimated seconds, None if unknown."""
    states: Mapping[str, int] = field(default_factory=dict)


def progress_of(tasks: Iterable[TaskView]) -> ProgressView:
    """The state, share done and rate of several tasks.

    The time left is that of the running, queued and waiting tasks at the present rate; it is unknown while
    nothing runs, or while no task's length is known.
    """
    everything = list(tasks)
    counted = Counter(task.state for task in everything)
    states = {state: counted[state] for state in STATES if counted[state]}
    if not everything:
        return ProgressView("new", "new", 0.0)
    leading = next(iter(states))
    text = leading
    bad = sum(states.get(state, 0) for state in BAD_STATES)
    if bad and leading not in BAD_STATES:
        text = f"{leading} {GLYPHS['failed']}{bad}"
    share = sum(task.progress for task in everything) / len(everything)
    running = [task for task in everything if task.state == "running"]
    unit = next((task.unit for task in running if task.unit), "")
    rate = sum(task.rate for task in running if task.unit == unit)
    totals = [task.total for task in everything if task.total and task.unit == unit]
    left = None
    if rate > 0 and totals:
        usual = sum(totals) / len(totals)
        pending = [task for task in everything if task.state in ("running", "queued", "waiting")]
        left = sum((task.total or usual) - task.done for task in pending) / rate
    return ProgressView(leading, text, share, rate, unit, left, states)
