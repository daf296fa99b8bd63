"""The list of a run's images."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui.dialogs.help import HelpScreen
from rsctl.tui.host import Host
from rsctl.tui.mode import copy_one
from rsctl.tui.results import reader
from rsctl.tui.results.image import ImageScreen
from rsctl.tui.results.reader import Sampled
from rsctl.tui.results.rows import SAMPLE_SORTS, sample_columns, sample_rows
from rsctl.tui.views import ImageView
from rsctl.tui.widgets.grid import Grid


class SamplesScreen(ModalScreen[None]):
    """Index, label, prediction, radius and counts of each image; Enter shows an image."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+g,q", "dismiss", "Close"),
        Binding("s", "sort", "Sort", tooltip="Sort by the next order"),
        Binding("y", "copy", "Copy", tooltip="Copy the image's number or file"),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, sampled: Sampled) -> None:
        super().__init__()
        self._title, self._about = sampled.title, sampled.about
        self._samples, self._labels, self._folder = sampled.samples, sampled.labels, sampled.folder
        self._sort = SAMPLE_SORTS[0]

    def compose(self) -> ComposeResult:
        with Vertical(id="samples"):
            yield Static("", id="samples-title", markup=False)
            yield Grid(sample_columns(self._labels), empty="No images finished yet.", id="samples-grid")
            yield Static("", id="samples-file", markup=False)

    def on_mount(self) -> None:
        self._show()
        self._show_file()

    def action_sort(self) -> None:
        self._sort = SAMPLE_SORTS[(SAMPLE_SORTS.index(self._sort) + 1) % len(SAMPLE_SORTS)]
        self._show()
        self.query_one(Grid).action_edge(-1)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen("images", self))

    def action_copy(self) -> None:
        here = self._here()
        file = self._labels.file(here.index) if here else ""
        copy_one(self, [("file", file), ("image", str(here.index) if here else "")])

    def _here(self) -> ImageView | None:
        key = self.query_one(Grid).key
        return next((sample for sample in self._samples if str(sample.index) == key), None)

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_file()

    def _show_file(self) -> None:
        here = self._here()
        file = plain(self._labels.file(here.index), 300) if here else ""
        asks = "Enter shows it with its noise" if self._folder and here else ""
        self.query_one("#samples-file", Static).update(" · ".join(filter(None, [file, asks])))

    def on_grid_chosen(self, _message: Grid.Chosen) -> None:
        here = self._here()
        if here is None or self._folder is None:
            self.notify("An imported log has no network to show images with.", markup=False)
            return
        screen = ImageScreen(self._title, here, self._labels)
        self.app.push_screen(screen)
        job = partial(reader.pictures, self._folder, here.index)
        cast("Host", self.app).background.submit("pictures", job, screen, screen.show, screen.refuse)

    def _show(self) -> None:
        wrong = sum(sample.predicted not in (-1, sample.label) for sample in self._samples)
        abstained = sum(sample.predicted == -1 for sample in self._samples)
        self.query_one("#samples-title", Static).update(
            f"{self._title} · {self._about}\n{counted(len(self._samples), 'image')}, {wrong:,} wrong, {abstained:,} abstain; "
            f"by {self._sort} (s: sort, ?: help)"
        )
        self.query_one(Grid).show(sample_rows(self._samples, self._sort, self._labels))
