"""The form for a sweep file: fields with help and defaults, the file, and its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from rsctl.completion import files, listed
from rsctl.plain import plain
from rsctl.tui.compose import sweep_files
from rsctl.tui.compose.drafting import WorkingDraft
from rsctl.tui.compose.fields import Composed, Field, Section
from rsctl.tui.compose.file_actions import FileActions
from rsctl.tui.compose.rows import (
    called,
    expert_key,
    first_sentence,
    form_rows,
    help_text,
    highlighted,
    plan_text,
    said_default,
)
from rsctl.tui.compose.table_actions import TableActions
from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.mode import ModeScreen
from rsctl.tui.widgets.cells import GridColumn
from rsctl.tui.widgets.grid import Grid

COLUMNS = (GridColumn("Field", 25), GridColumn("Value"), GridColumn("Default from", drop=1))


class ComposeScreen(ModeScreen):
    """The third mode."""

    MODE = "compose"
    GUIDE = (
        "A sweep file, field by field. Enter edits the field under the cursor; several values separated by commas form "
        "a grid. Muted values are defaults, with their source. The file and its plan are shown beside the form; "
        "no sweep file is written before you save or submit. Unsaved changes are offered again next time."
    )
    HEADS: ClassVar[dict[str, str]] = {
        "Default from": "source of the default: a paper, for this data set and noise level, or rsctl's own (default)",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        # The form itself would post a message, which arrives after the next key.
        Binding("enter,space", "set", "Edit the field", show=False, priority=True),
        Binding("slash", "find", "Find", key_display="/", tooltip="Find a field by its name"),
        Binding("o", "part('files', 'open')", "Open"),
        Binding("T", "part('files', 'template')", "Template"),
        Binding("w", "part('files', 'save')", "Save"),
        Binding("u", "part('files', 'submit')", "Submit"),
        Binding("plus", "part('tables', 'add')", "Add a method", show=False),
        Binding("V", "part('tables', 'add_verifier')", "Add a verifier", show=False),
        Binding("A", "part('tables', 'add_attack')", "Add an attack", show=False),
        Binding("L", "part('tables', 'add_cascade')", "Add a cascade", show=False),
        Binding("minus", "part('tables', 'remove')", "Remove the table", show=False),
        Binding("delete,backspace", "reset", "Reset the field", show=False),
        Binding("ctrl+z", "part('work', 'undo')", "Undo or redo the last change", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.composed: Composed | None = None
        self.work = WorkingDraft(self)
        self.files = FileActions(self)
        self.tables = TableActions(self)
        self._folds: dict[str, bool] = {}
        """Sections that the user opened or closed."""
        self.grid = Grid(COLUMNS, empty="Loading the form …", id="compose-form")

    def body(self) -> ComposeResult:
        with Container(id="compose-body"):
            yield self.grid
            with VerticalScroll(id="compose-side", can_focus=True):
                yield Static("", id="compose-help", markup=False)
                yield Static("", id="compose-plan", markup=False)
                yield Static("", id="compose-toml", markup=False)

    def on_mount(self) -> None:
        self.dashboard.form = self.work
        self.work.restore()
        self.grid.focus()
        self.check()

    def on_screen_resume(self) -> None:
        self.work.offer()

    def check(self) -> None:
        """Check the draft and rebuild its form."""
        self.work.remember()
        job = partial(sweep_files.compose, self.work.draft.copy())
        self.background.submit("compose", job, self, self._show)

    def _show(self, composed: Composed) -> None:
        self.composed = composed
        self._show_form()
        self.query_one("#compose-toml", Static).update(highlighted(composed.draft.toml()))
        self.query_one("#compose-plan", Static).update(plan_text(composed))

    # The form

    def _show_form(self) -> None:
        if self.composed is None:
            return
        self.grid.show(form_rows(self.composed.sections, self._folds))
        self._show_help()

    def _here(self) -> tuple[Section | None, Field | None]:
        """The field under the cursor, and its section."""
        sections, key = self.composed.sections if self.composed else (), self.grid.key
        found = ((s, f) for s in sections for f in s.fields if f"{s.title} {f.key}" == key)
        return next(found, (None, None))

    def field(self) -> Field | None:
        return self._here()[1]

    def _show_help(self) -> None:
        self.query_one("#compose-help", Static).update(help_text(self.field()))

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_help()

    def on_grid_folded(self, message: Grid.Folded) -> None:
        self._folds[message.key] = message.opened
        self._show_form()

    def on_grid_chosen(self, _message: Grid.Chosen) -> None:
        self.action_set()

    def copyable(self) -> list[tuple[str, str]]:
        here, composed = self.field(), self.composed
        return [
            ("problems", "\n".join(composed.problems) if composed else ""),
            ("field", called(here) if here else ""),
            ("sweep file", self.work.draft.toml()),
        ]

    def action_find(self) -> None:
        """Go to a field by its name, also in a closed section."""
        if self.composed is None:
            self.report("The form is still loading.")
            return
        sections = self.composed.sections
        places = {called(field): (section, field) for section in sections for field in section.fields}

        def take(name: str) -> None:
            section, field = places[name]
            self._folds |= {section.title: True}
            self._keep_open(section, field)
            self._show_form()
            self.grid.move_to(f"{section.title} {field.key}")

        here = self.field()
        options = [(name, first_sentence(field.help)) for name, (_, field) in places.items()]
        self.choose("Find a field", options, take, called(here) if here else "")

    def _keep_open(self, section: Section | None, field: Field) -> None:
        """Keep an advanced field visible while it is being edited."""
        if section is not None and field in section.expert:
            self._folds[expert_key(section)] = True

    def action_set(self) -> None:
        """Edit the field under the cursor, or open the section."""
        field = self.field()
        if field is None:
            self.grid.action_choose()
            return
        if field.options and not field.many and not field.grid:
            here = field.value or field.default
            self.choose(
                called(field), field.options, partial(self._take, field), here, about=self.about(field.key)
            )
            return
        allowed = f"\nAllowed: {', '.join(name for name, _ in field.options)}." if field.options else ""
        several = (
            ""
            if field.many or field.key in ("name", "description")
            else "\nSeveral values separated by commas form a grid."
        )
        default = f"\nLeave empty for the default: {said_default(field)}." if field.default else ""
        told = plain(field.help, 600) + allowed + several + default
        names = (
            listed([name for name, _ in field.options])
            if field.options
            else files
            if field.label == "file"
            else None
        )
        self.app.push_screen(
            PromptScreen(
                called(field),
                told,
                field.proposed,
                partial(_check_text, field),
                complete=names,
                about=self.about(field.key),
            ),
            partial(self._take, field),
        )

    def about(self, key: str) -> Mapping[str, str]:
        """Texts of the names that a field can have; those of a field whose values aren't names match nothing."""
        return self.composed.about(key) if self.composed else {}

    def _take(self, field: Field, text: str | None) -> None:
        if text is None:
            return
        if text == "" or (text == field.default and not field.is_set):
            self.work.draft.drop(field.key)
            self._show_meanwhile(field, "", False)
        else:
            value, grid = field.parse(text)
            self.work.draft.put(field.key, value, grid=grid)
            self._show_meanwhile(field, text, grid)
        self.check()

    def _show_meanwhile(self, field: Field, text: str, grid: bool) -> None:
        """Show a new value at once: checking a large sweep on a slow file system takes a while."""
        if self.composed is not None:
            section, here = self._here()
            if here is not None:
                self._keep_open(section, here)
            self.composed.put(replace(field, value=text, is_set=bool(text), grid=grid, problem=""))
            self._show_form()

    def tick(self) -> None:
        if self.composed is not None and self.composed.draft.raw != self.work.draft.raw:
            self.query_one("#compose-plan", Static).update("checking …")

    def action_reset(self) -> None:
        """Reset the field to its default."""
        field = self.field()
        if field is not None:
            self.work.draft.drop(field.key)
            self._show_meanwhile(field, "", False)
            self.check()


def _check_text(field: Field, text: str) -> None:
    if text:
        field.parse(text)
