"""Sweep files of the form: read, written and submitted on background threads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rsctl.errors import InputError, UserError
from rsctl.tui import actions
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.fields import Composed
from rsctl.tui.read_only import changes

if TYPE_CHECKING:
    from rsctl.config.templates import Template


class Opened(NamedTuple):
    """A sweep file or template was read, or a problem prevented it."""

    draft: Draft | None
    file: Path | None
    problem: str


class Saved(NamedTuple):
    """A sweep file was written, or a problem prevented it."""

    draft: Draft
    file: Path
    problem: str


def compose(draft: Draft) -> Composed:
    """The form for a draft."""
    from rsctl.tui.compose import form

    return form.compose(draft)


def templates() -> dict[str, Template]:
    """The templates that come with rsctl, by name: the quickstart, then those that need no GPU, then the others."""
    from rsctl.config.templates import grouped

    return {one.name: one for group in grouped().values() for one in group}


def draft_of(template: Template) -> Draft:
    """The draft of a template."""
    import tomli

    return Draft(tomli.loads(template.text))


@changes
def open_file(name: str) -> Opened:
    """Read a sweep file."""
    from rsctl.config.settings import read_toml

    file = Path(name).expanduser().absolute()
    try:
        return Opened(Draft(read_toml(file)), file, "")
    except (InputError, TypeError, ValueError) as error:
        return Opened(None, None, str(error))


@changes
def save(file: Path, draft: Draft, own: bool) -> Saved:
    """Write a sweep file; an existing one is overwritten only if it is the form's `own`."""
    from rsctl.store.files import publish, replace

    text = draft.toml().encode()
    try:
        if own:
            replace(file, text)
        elif not publish(file, text):
            return Saved(draft, file, f"{file}: already exists; choose another name.")
    except (UserError, OSError) as error:
        return Saved(draft, file, str(error))
    return Saved(draft, file, "")


@changes
def submit(name: str, toml: str, update: bool) -> actions.Acted:
    """Submit the sweep file in the form."""
    with tempfile.TemporaryDirectory(prefix="rsctl-") as folder:
        file = Path(folder) / f"{name}.toml"
        file.write_text(toml, encoding="utf-8")
        return actions.submit(file, update)
