"""Sweeps, runs and tasks as rows of the tree."""

from __future__ import annotations

from rsctl.text import duration, per_second
from rsctl.tui.filters import Filter
from rsctl.tui.views import Overview, ProgressView, RunView, SweepView, TaskView, progress_of
from rsctl.tui.widgets.cells import Cell, GridRow, bar, mark_of, state_cell
from rsctl.tui.widgets.data import columns

BAR = 8
COLUMNS = columns("sweeps")
SORTS = ("planned", "state", "progress", "left")


def sweep_rows(
    overview: Overview, opened: set[str], only: Filter | None = None, sort: str = "planned"
) -> list[GridRow]:
    """The rows of the tree that are unfolded. Keys: `sweep`, the run's key, `run key task key`.

    Under a filter, every sweep with a matching run is open, and the others are left out.
    """
    rows: list[GridRow] = []
    for sweep in overview.sweeps:
        runs = [run for run in sweep.runs if only is None or only.matches(run)]
        if only is not None and not runs:
            continue
        unfolded = sweep.name in opened or only is not None
        rows.append(_sweep_row(sweep, unfolded))
        if unfolded:
            for run in _sorted(runs, sort):
                rows.append(_run_row(run, run.key in opened))
                if run.key in opened:
                    rows += [_task_row(run, task) for task in run.tasks]
    return rows


def _sorted(runs: list[RunView], sort: str) -> list[RunView]:
    """Runs sorted by attention needed; ties keep the planned order."""
    if sort == "state":
        order = ("failed", "lost", "cancelled", "unknown", "running", "queued", "waiting", "new", "done")
        return sorted(runs, key=lambda run: min(map(order.index, run.progress.states), default=len(order)))
    if sort == "progress":
        return sorted(runs, key=lambda run: -run.progress.share)
    if sort == "left":
        lefts = {run.key: run.stage_progress.left for run in runs}
        return sorted(runs, key=lambda run: (lefts[run.key] is None, lefts[run.key] or 0.0))
    return runs


def _sweep_row(sweep: SweepView, opened: bool) -> GridRow:
    progress = sweep.progress
    dead = sum(bool(run.warning) for run in sweep.runs if not run.derived)
    state = state_cell(progress.state, progress.text) if sweep.tasks else state_cell("done", "imported")
    if dead:
        state = (*state, (f" {dead} dead", "failed"))
    where, whose = f"on {sweep.remote}" * bool(sweep.remote), f"of {sweep.owner}" * bool(sweep.owner)
    about = ", ".join(filter(None, (sweep.counts, where, whose)))
    name: Cell = ((sweep.name, "strong"), (f"  {about}", "muted"))
    share = _share(progress) if sweep.tasks else ""
    return GridRow(sweep.name, (name, state, share, "", "", "", ""), 0, opened)


def _run_row(run: RunView, opened: bool) -> GridRow:
    if run.problem or run.imported:
        state = state_cell("unknown", "unreadable") if run.problem else state_cell("done", "imported")
        return GridRow(run.key, (run.name, state, "", "", "", "", ""), 1, None)
    whole, stage = run.progress, run.stage_progress
    text = whole.text
    if whole.state == "running":
        text = whole.text.replace("running", "training" if run.stage == "train" else "certifying")
    shown = state_cell(whole.state, text)
    if run.warning:
        # The glyph keeps the state where the column has no room for its name.
        brief = "done " if whole.state == "done" else ""
        shown = (*state_cell(whole.state, brief), (mark_of(run.warning), "failed"))
    cells = (run.name, shown, _share(stage), _rate(stage), _left(stage), "", "")
    return GridRow(run.key, cells, 1, opened)


def _task_row(run: RunView, task: TaskView) -> GridRow:
    alone, state = progress_of([task]), state_cell(task.state, task.state)
    numbers = (_share(alone), _rate(alone), _left(alone))
    cells = (task.name, state, *numbers, ((task.node, "muted"),), str(task.attempt or ""))
    return GridRow(f"{run.key} {task.key}", cells, 2)


def _share(progress: ProgressView) -> Cell:
    name = "done" if progress.state == "done" else "running"
    # Never 100 % before everything is done.
    percent = 100 if progress.share >= 1 else int(progress.share * 100)
    return (*bar(progress.share, BAR, name), (f"{percent:>4}%", "" if progress.share else "muted"))


def _rate(progress: ProgressView) -> str:
    """The rate in the unit of the stage: steps in training, images in certification."""
    return per_second(progress.rate) if progress.rate else ""


def _left(progress: ProgressView) -> str:
    return duration(progress.left) if progress.left is not None else ""
