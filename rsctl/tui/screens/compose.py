"""A sweep file made in a form: what can be set, what it means, what the defaults are, and the plan it gives."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from rsctl.errors import InputError
from rsctl.tui import steer
from rsctl.tui.background import Answer
from rsctl.tui.draft import START, Draft
from rsctl.tui.plain import plain, plain_lines
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.screens.confirm import ConfirmScreen
from rsctl.tui.screens.mode import ModeScreen
from rsctl.tui.widgets.cells import Cell, Column, Row
from rsctl.tui.widgets.grid import Grid

if TYPE_CHECKING:
    from rsctl.tui.form_views import Composed, Field, Section

COLUMNS = (Column("Field", 26), Column("Value"), Column("Default from", drop=1))
ACTIONS = (
    ("Open a sweep file", "Into the form (o)", "open"),
    ("Start from a template", "Into the form (t)", "template"),
    ("Save the sweep file", "As a new file, or the one that was opened (w)", "save"),
    ("Submit", "After a question that states what it costs (u)", "submit"),
    ("Add a method", "The sweep compares it with the others (plus)", "add"),
    ("Take the method away", "The one the cursor is in (minus)", "remove"),
    ("Reset the field", "To its default (delete)", "reset"),
)


class Opened(Answer):
    """A sweep file or template was read, or why it wasn't."""

    def __init__(self, draft: Draft | None, file: Path | None, problem: str) -> None:
        super().__init__()
        self.draft, self.file, self.problem = draft, file, problem


class Saved(Answer):
    """A sweep file was written, or why it wasn't."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__()
        self.file, self.problem = file, problem


class ComposeScreen(ModeScreen):
    """The third mode."""

    MODE = "compose"
    GUIDE = (
        "A sweep file, field by field. Enter sets the field under the cursor; several values with commas between them make "
        "a grid. Muted values are defaults, with their source. The file and what it would run stand beside the form; "
        "nothing is written before you save or submit."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open"),
        Binding("t", "template", "Template"),
        Binding("w", "save", "Save"),
        Binding("u", "submit", "Submit"),
        Binding("plus", "add", "Add a method", show=False),
        Binding("minus", "remove", "Take the method away", show=False),
        Binding("delete,backspace", "reset", "Reset the field", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._draft = Draft(START)
        self._file: Path | None = None
        """The file that was opened or saved: saving may replace it."""
        self._composed: Composed | None = None
        self._folded = {"Precision", "Resources for training", "Resources for certification"}

    def body(self) -> ComposeResult:
        with Container(id="compose-body"):
            yield Grid(COLUMNS, empty="reading the declarations …", id="compose-form")
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

    def _check(self) -> None:
        """Have the draft checked and its form made anew."""
        draft = self._draft.copy()
        self.background.ask("compose", partial(_compose, draft), self)

    def on_composed(self, message: Composed) -> None:
        self._composed = message
        self._show_form()
        self.query_one("#compose-toml", Static).update(_highlighted(message.draft.toml()))
        self._show_plan()

    # The form

    def _show_form(self) -> None:
        if self._composed is None:
            return
        rows: list[Row] = []
        for section in self._composed.sections:
            opened = section.title not in self._folded
            rows.append(Row(section.title, _heading(section), 0, opened))
            if opened:
                rows += [_row(section, field) for field in section.fields]
        self.grid.show(rows)
        self._show_help()

    def _field(self) -> Field | None:
        sections = self._composed.sections if self._composed else ()
        key = self.grid.key
        return next((f for s in sections for f in s.fields if f"{s.title} {f.key}" == key), None)

    def _show_help(self) -> None:
        field = self._field()
        text = Text()
        if field is not None:
            text.append(field.key.replace("method.0.", "method.") + "\n", "bold")
            text.append(plain(field.help, 600))
            if field.default:
                text.append(f"\nDefault {field.default} ({field.source}).", "dim")
            if field.problem:
                text.append(f"\n✗ {plain(field.problem, 600)}", "bold red")
        self.query_one("#compose-help", Static).update(text)

    def _show_plan(self) -> None:
        composed = self._composed
        if composed is None:
            return
        text = Text()
        problems = [
            *(f"{f.key}: {f.problem}" for s in composed.sections for f in s.fields if f.problem),
            *composed.problems,
        ]
        if problems:
            text.append(f"✗ {len(problems)} problems\n", "bold red")
            for problem in problems[:8]:
                text.append(f"{plain(problem, 600)}\n")
        else:
            for line in plain_lines(composed.plan)[:14]:
                text.append(f"{line}\n")
            if composed.replaces:
                text.append(
                    "A sweep of this name exists with other content: submitting changes its list.\n", "bold"
                )
        self.query_one("#compose-plan", Static).update(text)

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_help()

    def on_grid_folded(self, message: Grid.Folded) -> None:
        self._folded = self._folded - {message.key} if message.opened else self._folded | {message.key}
        self._show_form()

    def on_grid_marked(self, message: Grid.Marked) -> None:
        self.on_grid_chosen(message)

    def on_grid_chosen(self, _message: Grid.Marked | Grid.Chosen) -> None:
        """Set the field under the cursor."""
        field = self._field()
        if field is None:
            return
        if field.options and not field.many and not field.grid:
            here = field.value or field.default
            self.app.push_screen(ChooseScreen(field.label, field.options, here), partial(self._take, field))
            return
        allowed = f"\nAllowed: {', '.join(name for name, _ in field.options)}." if field.options else ""
        several = (
            ""
            if field.many or field.key in ("name", "description")
            else "\nSeveral values with commas between them make a grid."
        )
        default = f"\nEmpty: {field.default} ({field.source})." if field.default else ""
        help_text = plain(field.help, 600) + allowed + several + default
        self.app.push_screen(
            AskScreen(field.label, help_text, field.value or field.default, partial(_check_text, field)), partial(self._take, field)
        )  # fmt: skip

    def _take(self, field: Field, text: str | None) -> None:
        if text is None:
            return
        if text == "" or (text == field.default and not field.is_set):
            self._draft.drop(field.key)
        else:
            value, grid = field.parse(text)
            self._draft.put(field.key, value, grid=grid)
        self._check()

    def action_reset(self) -> None:
        """Leave the field to its default."""
        field = self._field()
        if field is not None:
            self._draft.drop(field.key)
            self._check()

    def action_add(self) -> None:
        """Add a method that the sweep compares."""
        composed = self._composed
        options = next((f.options for s in composed.sections for f in s.fields if f.key == "method.0.name"), ()) if composed else ()  # fmt: skip

        def take(name: str | None) -> None:
            if name:
                self._draft.methods.append({"name": name})
                self._check()

        if options:
            self.app.push_screen(ChooseScreen("Add a method", options), take)
        elif composed is not None and not self._draft.methods:
            self._draft.methods.append({})
            self._check()

    def action_remove(self) -> None:
        """Take away the method that the cursor is in."""
        field = self._field()
        if field is None or not field.key.startswith("method."):
            self.notify("put the cursor on a field of the method first", markup=False)
        elif len(self._draft.methods) < 2:
            self.notify("a sweep needs at least one method", markup=False)
        else:
            del self._draft.methods[int(field.key.split(".")[1])]
            self._check()

    # Files

    def action_open(self) -> None:
        """Open a sweep file into the form; its comments don't survive saving."""
        take = lambda name: self.background.ask("file", partial(_open, name), self) if name else None  # noqa: E731
        self.app.push_screen(
            AskScreen("Open a sweep file", "Comments in it don't survive saving.", "", _need_name), take
        )

    def action_template(self) -> None:
        """Start from one of the sweep files that come with rsctl."""
        self.background.ask("file", _templates, self)

    def on_templates(self, message: Templates) -> None:
        def take(name: str | None) -> None:
            if name:
                self.background.ask("file", partial(_template, name), self)

        self.app.push_screen(ChooseScreen("Start from", message.options), take)

    def on_opened(self, message: Opened) -> None:
        if message.draft is None:
            self.notify(plain(message.problem, 600), severity="error", markup=False)
            return
        self._draft, self._file = message.draft, message.file
        self._check()

    def action_save(self) -> None:
        """Write the sweep file."""
        name = self._draft.raw.get("name")
        proposed = str(self._file) if self._file else f"{name if isinstance(name, str) else 'sweep'}.toml"
        own = self._file

        def take(text: str | None) -> None:
            if text:
                file = Path(text).expanduser().absolute()
                self.background.ask("file", partial(_save, file, self._draft.toml(), file == own), self)

        help_text = "Problems in it don't hinder saving. " + ("This file is replaced." if own else "A new file; nothing is overwritten.")  # fmt: skip
        self.app.push_screen(AskScreen("Save as", help_text, proposed, _need_name), take)

    def on_saved(self, message: Saved) -> None:
        if message.problem:
            self.notify(plain(message.problem, 600), severity="error", markup=False)
        else:
            self._file = message.file
            self.notify(f"written: {message.file}", markup=False)

    def action_submit(self) -> None:
        """Submit the sweep, after a question that states the plan and its cost."""
        composed = self._composed
        if composed is None or composed.draft.raw != self._draft.raw:
            self.notify("still being checked", markup=False)
            return
        if not composed.plan:
            self.notify(
                "the sweep file has problems; they stand beside the form", severity="error", markup=False
            )
            return
        text = "\n".join(plain_lines(composed.plan)[:14])
        if composed.replaces:
            text += (
                "\n\nA sweep of this name exists with other content: this changes its list. Results are kept."
            )
        toml, replaces, name = composed.draft.toml(), composed.replaces, str(composed.draft.raw["name"])

        def answered(yes: bool | None) -> None:
            if yes:
                self.background.ask("submit", partial(_submit, name, toml, replaces), self)

        self.app.push_screen(ConfirmScreen("Submit?", text, "Submit"), answered)

    def on_acted(self, message: steer.Acted) -> None:
        self.notify("\n".join(plain_lines(message.text)[:12]), markup=False)
        self.dashboard.look_now()
        self._check()

    def commands(self) -> Iterable[SystemCommand]:
        for title, text, action in ACTIONS:
            yield SystemCommand(title, text, partial(self.run_action, action))


class Templates(Answer):
    """The sweep files that come with rsctl."""

    def __init__(self, options: list[tuple[str, str]]) -> None:
        super().__init__()
        self.options = options


def _compose(draft: Draft) -> Answer:
    from rsctl.tui.form import compose

    return compose(draft)


def _templates() -> Answer:
    from rsctl.spec.templates import all_templates

    return Templates([(one.name, one.summary) for one in all_templates()])


def _template(name: str) -> Answer:
    import tomli

    from rsctl.spec.templates import find_template

    return Opened(Draft(tomli.loads(find_template(name).text)), None, "")


def _open(name: str) -> Answer:
    from rsctl.spec.settings import read_toml

    file = Path(name).expanduser().absolute()
    try:
        return Opened(Draft(read_toml(file)), file, "")
    except (InputError, TypeError, ValueError) as error:
        return Opened(None, None, str(error))


def _save(file: Path, toml: str, own: bool) -> Answer:
    from rsctl.errors import UserError
    from rsctl.store.files import publish, replace

    try:
        if own:
            replace(file, toml.encode())
        elif not publish(file, toml.encode()):
            return Saved(file, f"{file}: exists already; choose another name.")
    except (UserError, OSError) as error:
        return Saved(file, str(error))
    return Saved(file, "")


def _submit(name: str, toml: str, update: bool) -> Answer:
    file = Path(tempfile.mkdtemp(prefix="rsctl-")) / f"{name}.toml"
    file.write_text(toml, encoding="utf-8")
    return steer.submit(file, update)


def _check_text(field: Field, text: str) -> None:
    if text:
        field.parse(text)


def _need_name(text: str) -> None:
    if not text:
        raise InputError("give the name of a file.")


def _heading(section: Section) -> tuple[Cell, ...]:
    problems = sum(bool(field.problem) for field in section.fields)
    given = sum(field.is_set for field in section.fields)
    note = f"✗ {problems}" if problems else f"{given} set" if given else ""
    return (((section.title, "strong"),), ((note, "failed" if problems else "muted"),), "")


def _row(section: Section, field: Field) -> Row:
    style = "failed" if field.problem else "" if field.is_set else "muted"
    value = plain(field.value if field.is_set else field.default, 300)
    shown: Cell = ((("⊞ " if field.grid else "") + value + (" ✗" if field.problem else ""), style),)
    source = "" if field.is_set else field.source
    return Row(f"{section.title} {field.key}", (field.label, shown, ((source, "muted"),)), 1)


def _highlighted(toml: str) -> Text:
    """The file, with its headings set off."""
    text = Text()
    for line in plain_lines(toml):
        key, equals, rest = line.partition(" = ")
        if line.startswith("["):
            text.append(line, "bold")
        elif equals:
            text.append(key).append(f" = {rest}", "dim")
        else:
            text.append(line)
        text.append("\n")
    return text
