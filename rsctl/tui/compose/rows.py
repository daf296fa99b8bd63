"""The form's fields as rows, and the texts beside them: help, plan and file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from rsctl.plain import plain, plain_lines
from rsctl.text import counted
from rsctl.tui.compose.fields import Composed, Field, Section
from rsctl.tui.widgets.cells import Cell, GridRow

MOST_LINES = 14
CLOSED = ("Precision", "Resources for ")
"""Title prefixes of the sections that are closed at first."""


def form_rows(sections: Sequence[Section], folds: Mapping[str, bool]) -> list[GridRow]:
    """Every section with its fields, the advanced ones in a fold; `folds` has what the user opened or closed."""
    rows: list[GridRow] = []
    for section in sections:
        opened = folds.get(section.title, not section.title.startswith(CLOSED))
        rows.append(GridRow(section.title, heading(section.title, section.fields), 0, opened))
        if not opened:
            continue
        rows += [field_row(section, field) for field in section.basic]
        if expert := section.expert:
            key = expert_key(section)
            # Fields that are set or wrong must be visible.
            opened = folds.get(key, any(field.is_set or field.problem for field in expert))
            rows.append(GridRow(key, heading(f"advanced ({len(expert)})", expert), 1, opened))
            rows += [field_row(section, field, 2) for field in expert if opened]
    return rows


def expert_key(section: Section) -> str:
    """Key of the row that folds the section's advanced fields."""
    return f"{section.title} expert"


def heading(title: str, fields: Iterable[Field]) -> tuple[Cell, ...]:
    """The cells of a row that opens and closes a group of fields."""
    problems = sum(bool(field.problem) for field in fields)
    given = sum(field.is_set for field in fields)
    note = f"✗ {problems}" if problems else f"{given} set" if given else ""
    return (((title, "strong"),), ((note, "failed" if problems else "muted"),), "")


def field_row(section: Section, field: Field, depth: int = 1) -> GridRow:
    """A field's row: its value, or its default and the default's source."""
    style = "failed" if field.problem else "" if field.is_set else "muted"
    value = plain(field.value if field.is_set else field.default, 300)
    shown: Cell = ((("⊞ " if field.grid else "") + value + (" ✗" if field.problem else ""), style),)
    source = field.source if not field.is_set or field.source.startswith("except ") else ""
    return GridRow(
        f"{section.title} {field.key}",
        (f"{field.label} (special)" if field.special else field.label, shown, ((source, "muted"),)),
        depth,
    )


def highlighted(toml: str) -> Text:
    """The file with bold table headers."""
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


def said_default(field: Field) -> str:
    """The default, with its source where it has one of its own."""
    return field.default if field.source == "default" else f"{field.default} ({field.source})"


def first_sentence(text: str) -> str:
    return plain(text.partition(". ")[0], 60)


def called(field: Field) -> str:
    """A field's key in the sweep file: labels repeat across sections."""
    return field.key.replace("method.0.", "method.")


def help_text(field: Field | None) -> Text:
    """Help of the field under the cursor: meaning, default and problem."""
    text = Text()
    if field is not None:
        text.append(called(field) + "\n", "bold")
        text.append(plain(field.help, 600))
        if field.special:
            text.append("\nSpecial: few sweeps need it.", "dim")
        if field.default:
            text.append(f"\nDefault {said_default(field)}.", "dim")
        if field.problem:
            text.append(f"\n✗ {plain(field.problem, 600)}", "bold red")
    return text


def plan_text(composed: Composed) -> Text:
    """The problems, or the plan of the file."""
    text = Text()
    problems = [
        *(f"{f.key}: {f.problem}" for s in composed.sections for f in s.fields if f.problem),
        *composed.problems,
    ]
    if problems:
        text.append(f"✗ {counted(len(problems), 'problem')}\n", "bold red")
        for problem in problems[:8]:
            text.append(f"{plain(problem, 600)}\n")
        return text
    if composed.replaces:
        text.append(f"{composed.replaces}\n\n", "bold")
    text.append(first_lines(composed.plan, MOST_LINES))
    return text


def first_lines(text: str, most: int) -> str:
    """The first lines of a text, and the number of lines left out."""
    lines = plain_lines(text)
    rest = len(lines) - most
    return "\n".join(lines if rest <= 0 else [*lines[:most], f"  … and {counted(rest, 'more line')}"])
