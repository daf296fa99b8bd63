"""The cluster mode: open tasks, the doctor's findings, profiles, and SLURM's partitions, nodes and usage."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import ContentSwitcher, Static

from rsctl.plain import plain
from rsctl.text import counted, duration
from rsctl.tui import actions
from rsctl.tui.cluster import reader
from rsctl.tui.mode import ModeScreen
from rsctl.tui.views import OPEN_STATES, STATES, Overview, TaskView, progress_of
from rsctl.tui.widgets.cells import GridRow, state_cell
from rsctl.tui.widgets.data import columns
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.tabline import TabLine

if TYPE_CHECKING:
    from rsctl.cluster.doctor import Finding

PANES = [("", "Findings"), ("", "Profiles"), ("", "Partitions"), ("", "Nodes"), ("", "Usage")]
"""Selected with [ and ]: letters mean the same in every mode, and no letter is left for these."""
ASKED = {"Partitions": (60.0, "hardware"), "Nodes": (60.0, "hardware"), "Usage": (600.0, "usage")}
"""Query of each visible pane, and the seconds between two queries."""
EMPTY = {"hardware": "SLURM lists none.", "usage": "SLURM's accounting has no jobs of yours."}


class ClusterScreen(ModeScreen):
    """The fourth mode."""

    MODE = "cluster"
    PANES = PANES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "cancel", "Cancel", tooltip="Cancel the task under the cursor"),
        Binding("D", "examine", "Doctor", tooltip="Check the store, data, packages, queue and SLURM"),
    ]

    def body(self) -> ComposeResult:
        with Vertical(id="cluster-body"):
            yield Grid(columns("queue"), empty="No open tasks.", id="cluster-queue")
            yield TabLine(PANES, "Findings")
            with ContentSwitcher(initial="Findings", id="cluster-panes"):
                yield Grid(columns("findings"), empty="Press D to run the doctor's checks.", id="Findings")
                yield Grid(columns("profiles"), empty="Reading rsctl.toml …", id="Profiles")
                for name in ASKED:
                    yield Grid(columns(name.lower()), empty="Querying SLURM …", id=name)
            yield Static("", id="cluster-note", markup=False)

    def on_mount(self) -> None:
        self._tasks: dict[str, tuple[str, TaskView]] = {}
        """Title and task of each row of the queue, by key."""
        self._wanted: set[str] = set()
        """Keys of the tasks that a sweep needs."""
        self._full: dict[str, str] = {}
        """Full texts of rows, by grid and key: shown below when the cursor is on them."""
        self._noted = ""
        """The grid that the note is about."""
        self._problems: dict[str, str] = {}
        """Problem that keeps a pane from being up to date."""
        self._heard: dict[str, str] = {}
        """Time of a pane's last update."""
        self.query_one("#cluster-queue", Grid).focus()
        self.background.submit("profiles", reader.profiles, self, self._show_profiles)

    @property
    def pane(self) -> str:
        return self.query_one(TabLine).here

    # What arrives

    def show(self, overview: Overview) -> None:
        wanted: dict[str, list[str]] = {}
        found: dict[str, tuple[str, TaskView]] = {}
        for sweep in overview.sweeps:
            for run in sweep.runs:
                for task in run.tasks:
                    if task.state in OPEN_STATES:
                        found.setdefault(task.key, (f"{run.title} · {task.name}", task))
                        names = wanted.setdefault(task.key, [])
                        names += [sweep.name] if sweep.name not in names else []
        for task in overview.dropped:
            found.setdefault(task.key, (f"{task.run.partition('/')[2]} · {task.name}", task))
        self._tasks, self._wanted = found, set(wanted)
        # Running tasks come first, then those that are next.
        ordered = sorted(found.values(), key=lambda pair: STATES.index(pair[1].state))
        grid = self.query_one("#cluster-queue", Grid)
        grid.show([self._row(title, task, wanted.get(task.key, [])) for title, task in ordered])
        if self._noted == grid.id:
            # The text of the row under the cursor may have changed, though the cursor hasn't moved.
            self._show_note(grid)

    def _row(self, title: str, task: TaskView, wanted: list[str]) -> GridRow:
        """The row of an open task, with the sweeps that need it."""
        progress = progress_of([task])
        left = duration(progress.left) if progress.left is not None else ""
        whose = (", ".join(wanted), "muted") if wanted else ("no sweep", "failed")
        told = f"{title}: {task.reason or task.state}"
        told += "" if wanted else ". No sweep needs it any more: x cancels it."
        self._full[f"cluster-queue {task.key}"] = told
        share = f"{int(100 * task.progress)}%"
        # On a narrow screen the column with the sweeps is left out.
        why = task.reason if wanted else "; ".join(filter(None, ["no sweep needs it", task.reason]))
        cells = (title, (whose,), state_cell(task.state, task.state), share, left, task.node, why)
        return GridRow(task.key, cells)

    def tick(self) -> None:
        every, question = ASKED.get(self.pane, (0.0, ""))
        if question and self.background.due(question, every):
            show = partial(self._show_reply, question)
            self.background.submit(question, getattr(reader, question), self, show, partial(show, {}))
        busy = self.background.busy("doctor")
        if busy:
            self.query_one(TabLine).note = f"checking … {busy:.0f} s"

    def _show_findings(self, findings: list[Finding]) -> None:
        bad = sum(not one.ok for one in findings)
        self.query_one(TabLine).note = counted(bad, "problem") if bad else "no problems found"
        rows = []
        for place, one in enumerate(sorted(findings, key=lambda one: one.ok)):
            key = f"{place} {one.what}"
            self._full[f"Findings {key}"] = f"{one.what}: {one.text}"
            mark = (f"✓ {one.what}", "done") if one.ok else (f"✗ {one.what}", "failed")
            rows.append(GridRow(key, ((mark,), one.text)))
        self.query_one("#Findings", Grid).show(rows)

    def _show_profiles(self, found: tuple[list[tuple[str, str, str]], str]) -> None:
        profiles, file = found
        self._full |= {f"Profiles {name}": f"{name} ({backend}): {told}" for name, backend, told in profiles}
        rows = [GridRow(name, (name, backend, told)) for name, backend, told in profiles]
        self.query_one("#Profiles", Grid).show([*rows, GridRow("", ("", "", ((file, "muted"),)))])

    def _show_reply(self, question: str, panes: reader.Panes, problem: str = "") -> None:
        """Show SLURM's reply; while SLURM doesn't respond, the last reply stays, with its time."""
        now = time.strftime("%H:%M:%S")
        for name, rows in panes.items():
            self._heard[name] = now
            self.query_one(f"#{name}", Grid).show([GridRow(cells[0], cells) for cells in rows])
        for name, (_, asked) in ASKED.items():
            if asked == question:
                grid = self.query_one(f"#{name}", Grid)
                grid.empty = "SLURM can't be queried." if problem else EMPTY[question]
                heard = f" (shown: data of {self._heard[name]})" if name in self._heard else ""
                self._problems[name] = plain(problem, 500) + heard if problem else ""
                grid.refresh()
        self._show_note(self.query_one(f"#{self.pane}", Grid))

    def on_grid_moved(self, message: Grid.Moved) -> None:
        self._show_note(message.grid)

    def _show_note(self, grid: Grid) -> None:
        """Show the full text of the row under the cursor, or the problem of its pane."""
        if grid.id in ("cluster-queue", self.pane):
            self._noted = str(grid.id)
            text = self._full.get(f"{grid.id} {grid.key}", "") or self._problems.get(str(grid.id), "")
            self.query_one("#cluster-note", Static).update(text)

    # Actions

    def copyable(self) -> list[tuple[str, str]]:
        grid = self.focused
        if not isinstance(grid, Grid):
            return []
        told = self._full.get(f"{grid.id} {grid.key}", "")
        if grid.id != "cluster-queue" or grid.key not in self._tasks:
            return [("line", told)]
        _, task = self._tasks[grid.key]
        return [
            ("task", f"{task.run.partition('/')[2]}/{task.number}"),
            ("reason", task.reason),
            ("node", task.node),
        ]

    def action_pane(self, name: str) -> None:
        self.query_one(TabLine).here = name
        self.query_one("#cluster-panes", ContentSwitcher).current = name
        self._show_note(self.query_one(f"#{name}", Grid))
        self.tick()

    def action_cancel(self) -> None:
        grid = self.query_one("#cluster-queue", Grid)
        if grid.key not in self._tasks:
            self.report("No open tasks.")
            return
        title, task = self._tasks[grid.key]

        text = f"{title}. Work done so far is kept"
        text += "; retry continues from there." if task.key in self._wanted else "."
        job = partial(actions.cancel, title, [task.key])

        def cancel() -> None:
            self.background.submit(f"act {title}", job, self, self._report)

        self.confirm("Cancel task?", text, "Cancel it", cancel)

    def _report(self, done: actions.Acted) -> None:
        self.report(done.text)
        self.dashboard.poll_now()

    def action_examine(self) -> None:
        self.action_pane("Findings")
        if not self.background.busy("doctor"):
            self.background.submit("doctor", reader.examine, self, self._show_findings)
