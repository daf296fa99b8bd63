"""The images of a run, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rsctl.tui.result_rows import SAMPLE_COLUMNS, SAMPLE_SORTS, sample_rows
from rsctl.tui.views import Sample
from rsctl.tui.widgets.grid import Grid
from rsctl.words import counted


class SamplesScreen(ModalScreen[None]):
    """Index, label, prediction, radius and counts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+g,q", "dismiss", "Close"),
        Binding("s", "sort", "Sort"),
    ]

    def __init__(self, title: str, samples: Sequence[Sample], about: str) -> None:
        super().__init__()
        self._title, self._samples, self._about = title, samples, about
        self._sort = SAMPLE_SORTS[0]

    def compose(self) -> ComposeResult:
        with Vertical(id="samples"):
            yield Static("", id="samples-title", markup=False)
            yield Grid(SAMPLE_COLUMNS, empty="no image is certified yet", id="samples-grid")

    def on_mount(self) -> None:
        self._show()

    def action_sort(self) -> None:
        """Order the images by something else."""
        self._sort = SAMPLE_SORTS[(SAMPLE_SORTS.index(self._sort) + 1) % len(SAMPLE_SORTS)]
        self._show()
        self.query_one(Grid).action_edge(-1)

    def _show(self) -> None:
        wrong = sum(sample.predicted not in (-1, sample.label) for sample in self._samples)
        abstained = sum(sample.predicted == -1 for sample in self._samples)
        self.query_one("#samples-title", Static).update(
            f"{self._title} · {self._about}\n{counted(len(self._samples), 'image')}, {wrong:,} wrong, {abstained:,} abstain; "
            f"by {self._sort} (s: other order, q: close)"
        )
        self.query_one(Grid).show(sample_rows(self._samples, self._sort))
