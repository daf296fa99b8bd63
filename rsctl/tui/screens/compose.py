"""The form for a sweep file: fields with help and defaults, the file, and its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from rsctl.completion import files, listed
from rsctl.plain import plain
from rsctl.tui.draft import LISTS
from rsctl.tui.form_rows import (
    called,
    expert_key,
    first_sentence,
    form_rows,
    help_text,
    highlighted,
    plan_text,
    said_default,
)
from rsctl.tui.form_views import Composed, Field, Section
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.screens.filing import Filing
from rsctl.tui.widgets.cells import Column
from rsctl.tui.widgets.grid import Grid

COLUMNS = (Column("Field", 25), Column("Value"), Column("Default from", drop=1))
ACTIONS = (
    ("Find a field", "By its name (/)", "find"),
    ("Open a sweep file", "In the form (o)", "open"),
    ("Start from a template", "In the form (T)", "template"),
    ("Save the sweep file", "To a new file, or the one that was opened (w)", "save"),
    ("Submit", "Shows the plan and its cost first (u)", "submit"),
    ("Add a method", "To compare it with the others (plus)", "add"),
    ("Add a verifier", "Radii proved without sampling, on the same images (V)", "add_verifier"),
    ("Add an attack", "On the network or on the smoothed classifier (A)", "add_attack"),
    ("Remove a table", "The method, verifier or attack under the cursor (minus)", "remove"),
    ("Reset the field", "To its default (delete)", "reset"),
    ("Undo the last change", "Again redoes it (Ctrl+Z)", "undo"),
)


class ComposeScreen(Filing):
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
        Binding("o", "open", "Open"),
        Binding("T", "template", "Template"),
        Binding("w", "save", "Save"),
        Binding("u", "submit", "Submit"),
        Binding("plus", "add", "Add a method", show=False),
        Binding("V", "add_verifier", "Add a verifier", show=False),
        Binding("A", "add_attack", "Add an attack", show=False),
        Binding("minus", "remove", "Remove the table", show=False),
        Binding("delete,backspace", "reset", "Reset the field", show=False),
        Binding("ctrl+z", "undo", "Undo or redo the last change", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._folds: dict[str, bool] = {}
        """Sections that the user opened or closed."""

    def body(self) -> ComposeResult:
        with Container(id="compose-body"):
            yield Grid(COLUMNS, empty="Loading the form …", id="compose-form")
            with VerticalScroll(id="compose-side", can_focus=True):
                yield Static("", id="compose-help", markup=False)
                yield Static("", id="compose-plan", markup=False)
                yield Static("", id="compose-toml", markup=False)

    def on_mount(self) -> None:
        self.grid.focus()
        self._check()

    @property
    def grid(self) -> Grid:
        return self.query_one("#compose-form", Grid)

    def on_composed(self, message: Composed) -> None:
        self._composed = message
        self._show_form()
        self.query_one("#compose-toml", Static).update(highlighted(message.draft.toml()))
        self.query_one("#compose-plan", Static).update(plan_text(message))

    # The form

    def _show_form(self) -> None:
        if self._composed is None:
            return
        self.grid.show(form_rows(self._composed.sections, self._folds))
        self._show_help()

    def _here(self) -> tuple[Section | None, Field | None]:
        """The field under the cursor, and its section."""
        sections, key = self._composed.sections if self._composed else (), self.grid.key
        found = ((s, f) for s in sections for f in s.fields if f"{s.title} {f.key}" == key)
        return next(found, (None, None))

    def _field(self) -> Field | None:
        return self._here()[1]

    def _show_help(self) -> None:
        self.query_one("#compose-help", Static).update(help_text(self._field()))

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_help()

    def on_grid_folded(self, message: Grid.Folded) -> None:
        self._folds[message.key] = message.opened
        self._show_form()

    def on_grid_chosen(self, _message: Grid.Chosen) -> None:
        self.action_set()

    def copyable(self) -> list[tuple[str, str]]:
        here, composed = self._field(), self._composed
        return [
            ("problems", "\n".join(composed.problems) if composed else ""),
            ("field", called(here) if here else ""),
            ("sweep file", self._draft.toml()),
        ]

    def action_find(self) -> None:
        """Go to a field by its name, also in a closed section."""
        if self._composed is None:
            self.notify("The form is still loading.", markup=False)
            return
        sections = self._composed.sections
        places = {called(field): (section, field) for section in sections for field in section.fields}

        def take(name: str | None) -> None:
            if name:
                section, field = places[name]
                self._folds |= {section.title: True}
                self._keep_open(section, field)
                self._show_form()
                self.grid.move_to(f"{section.title} {field.key}")

        here = self._field()
        options = [(name, first_sentence(field.help)) for name, (_, field) in places.items()]
        self.app.push_screen(ChooseScreen("Find a field", options, called(here) if here else ""), take)

    def _keep_open(self, section: Section | None, field: Field) -> None:
        """Keep an advanced field visible while it is being edited."""
        if section is not None and field in section.expert:
            self._folds[expert_key(section)] = True

    def action_set(self) -> None:
        """Edit the field under the cursor, or open the section."""
        field = self._field()
        if field is None:
            self.grid.action_choose()
            return
        if field.options and not field.many and not field.grid:
            here = field.value or field.default
            chooser = ChooseScreen(called(field), field.options, here, about=self._about(field.key))
            self.app.push_screen(chooser, partial(self._take, field))
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
            AskScreen(
                called(field),
                told,
                field.proposed,
                partial(_check_text, field),
                complete=names,
                about=self._about(field.key),
            ),
            partial(self._take, field),
        )

    def _about(self, key: str) -> Mapping[str, str]:
        """Texts of the names that a field can have; those of a field whose values aren't names match nothing."""
        return self._composed.about(key) if self._composed else {}

    def _take(self, field: Field, text: str | None) -> None:
        if text is None:
            return
        if text == "" or (text == field.default and not field.is_set):
            self._draft.drop(field.key)
            self._show_meanwhile(field, "", False)
        else:
            value, grid = field.parse(text)
            self._draft.put(field.key, value, grid=grid)
            self._show_meanwhile(field, text, grid)
        self._check()

    def _show_meanwhile(self, field: Field, text: str, grid: bool) -> None:
        """Show a new value at once: checking a large sweep on a slow file system takes a while."""
        if self._composed is not None:
            section, here = self._here()
            if here is not None:
                self._keep_open(section, here)
            self._composed.put(replace(field, value=text, is_set=bool(text), grid=grid, problem=""))
            self._show_form()

    def tick(self) -> None:
        if self._composed is not None and self._composed.draft.raw != self._draft.raw:
            self.query_one("#compose-plan", Static).update("checking …")

    def action_reset(self) -> None:
        """Reset the field to its default."""
        field = self._field()
        if field is not None:
            self._draft.drop(field.key)
            self._show_meanwhile(field, "", False)
            self._check()

    def action_add(self) -> None:
        """Add a method to the sweep."""
        composed = self._composed
        options = next((f.options for s in composed.sections for f in s.fields if f.key == "method.0.name"), ()) if composed else ()  # fmt: skip

        def take(name: str | None) -> None:
            if name:
                self._draft.methods.append({"name": name})
                self._check()

        if options:
            self.app.push_screen(ChooseScreen("Add a method", options, about=self._about("method")), take)
        elif composed is not None and not self._draft.methods:
            self._draft.methods.append({})
            self._check()

    def action_add_verifier(self) -> None:
        """Add a verifier for every model of the sweep."""
        self._add_table("verification", "Add a verifier")

    def action_add_attack(self) -> None:
        """Add an attack on every model of the sweep."""
        self._add_table("attack", "Add an attack")

    def _add_table(self, key: str, title: str) -> None:
        if self._composed is None:
            return

        def take(name: str | None) -> None:
            if name:
                self._draft.tables(key).append({LISTS[key]: name})
                self._check()

        self.app.push_screen(ChooseScreen(title, self._composed.tables[key], about=self._about(key)), take)

    def action_remove(self) -> None:
        """Remove the method, verifier or attack under the cursor."""
        field = self._field()
        key, _, rest = field.key.partition(".") if field else ("", "", "")
        if key not in LISTS or not rest:
            self.notify("Move the cursor to a field of a method, verifier or attack first.", markup=False)
        elif key == "method" and len(self._draft.methods) < 2:
            self.notify("A sweep needs at least one method.", markup=False)
        else:
            del self._draft.tables(key)[int(rest.split(".")[0])]
            self._check()

    def commands(self) -> Iterable[SystemCommand]:
        for title, text, action in ACTIONS:
            yield SystemCommand(title, text, partial(self.run_action, action))


def _check_text(field: Field, text: str) -> None:
    if text:
        field.parse(text)
